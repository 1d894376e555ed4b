"""Writes foreign.hdf5 and the files of formats.zip: run `python3 make.py` in this folder, with h5py."""
import io
import zipfile

import h5py
import numpy as np

i, j = np.indices((37, 11))


def arrays(f):
    f.create_dataset("split", data=(100 * i + j).astype("<i4"), chunks=(8, 4), compression="gzip", compression_opts=4)
    f.create_dataset("bytes", data=((i * 11 + j) % 251 - 125).astype("i1"), chunks=(5, 11), compression="gzip", compression_opts=9)
    f.create_dataset("contiguous", data=np.arange(7, dtype="<i4") - 3)
    f.create_dataset("shuffled", data=(i - j).astype("<i4"), chunks=True, shuffle=True, fletcher32=True, compression="gzip")


with h5py.File("foreign.hdf5", "w") as f:
    arrays(f)
    f.create_dataset("long", data=np.arange(7, dtype="<i8"))
    f.create_dataset("big endian", data=np.arange(7, dtype=">i4"))
    f.create_dataset("floats", data=np.arange(7, dtype="<f4"))
    f.create_dataset("unsigned", data=np.arange(7, dtype="u1"))
    f.create_dataset("scalar", data=np.int32(5))
    f.create_dataset("huge", shape=(1 << 40, 4), dtype="<i4", chunks=(1024, 4), compression="gzip")
    f.create_dataset("none", shape=(0, 4), dtype="<i4")
    f.create_group("group")

formats = {
    "user block.hdf5": dict(userblock_size=512),
    "order of creation.hdf5": dict(track_order=True),
    "version 1.8.hdf5": dict(libver=("earliest", "v108")),
    "version 1.8 alone.hdf5": dict(libver=("v108", "v108")),
    "latest.hdf5": dict(libver="latest"),
    "many attributes.hdf5": {},
    "many links.hdf5": {},
    "many links, latest.hdf5": dict(libver="latest"),
    "many chunks.hdf5": {},
    "many chunks, latest.hdf5": dict(libver="latest"),
    "growing.hdf5": {},
    "growing, latest.hdf5": dict(libver="latest"),
    "checksums alone.hdf5": {},
    "no filters.hdf5": {},
}
with zipfile.ZipFile("formats.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for name, options in formats.items():
        data = io.BytesIO()
        with h5py.File(data, "w", **options) as f:
            arrays(f)
            if "attributes" in name:
                for k in range(20):
                    f["split"].attrs[f"attribute {k}"] = np.arange(k + 1)
                    f.attrs[f"attribute {k}"] = "text" * k
            if "links" in name:
                for k in range(300):
                    f.create_dataset(f"link {k}", data=np.arange(2))
            if "chunks" in name:
                f.create_dataset("more", data=np.tile(np.arange(997, dtype="<i4"), 10), chunks=(13,))
            if "growing" in name:
                f.create_dataset("more", data=np.tile(np.arange(997, dtype="<i4"), 10), chunks=(101,), maxshape=(None,))
            if "alone" in name:
                f.create_dataset("more", data=np.tile(np.arange(997, dtype="<i4"), 10), chunks=(101,), fletcher32=True)
            if "no filters" in name:
                f.create_dataset("more", data=np.tile(np.arange(997, dtype="<i4"), 10), chunks=(9970,))
        archive.writestr(zipfile.ZipInfo(name), data.getvalue(), zipfile.ZIP_DEFLATED)
