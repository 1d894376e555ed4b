"""Writes foreign.hdf5: run `python3 make.py` in this folder, with h5py."""
import h5py
import numpy as np

i, j = np.indices((37, 11))
with h5py.File("foreign.hdf5", "w") as f:
    f.create_dataset("split", data=(100 * i + j).astype("<i4"), chunks=(8, 4), compression="gzip", compression_opts=4)
    f.create_dataset("bytes", data=((i * 11 + j) % 251 - 125).astype("i1"), chunks=(5, 11), compression="gzip", compression_opts=9)
    f.create_dataset("contiguous", data=np.arange(7, dtype="<i4") - 3)
    f.create_dataset("shuffled", data=(i - j).astype("<i4"), chunks=True, shuffle=True, fletcher32=True, compression="gzip")
    f.create_dataset("long", data=np.arange(7, dtype="<i8"))
    f.create_dataset("big endian", data=np.arange(7, dtype=">i4"))
    f.create_dataset("floats", data=np.arange(7, dtype="<f4"))
    f.create_dataset("unsigned", data=np.arange(7, dtype="u1"))
    f.create_dataset("scalar", data=np.int32(5))
    f.create_dataset("huge", shape=(1 << 40, 4), dtype="<i4", chunks=(1024, 4), compression="gzip")
    f.create_dataset("none", shape=(0, 4), dtype="<i4")
    f.create_group("group")
