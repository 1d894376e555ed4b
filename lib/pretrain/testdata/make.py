"""Writes original_training_0.hdf5: run `python3 make.py` in this folder, with h5py.

The layout is that of the original program: the six arrays in the root group, gzip 4, chunks that split columns too, object times kept.
"""
import h5py
import numpy as np

N, S, P = 37, 16, 4
ids = np.zeros((N, S), "<i4")
mask = np.zeros((N, S), "i1")
segments = np.zeros((N, S), "i1")
positions = np.zeros((N, P), "<i4")
labels = np.zeros((N, P), "<i4")
for r in range(N):
    length = 6 + r % 11
    for c in range(length):
        ids[r, c] = 1 + (31 * r + 7 * c) % 1000
        mask[r, c] = 1
        segments[r, c] = c >= length // 2
    for k in range(1 + r % P):
        positions[r, k] = k + 1 + r % 2
        labels[r, k] = 1 + (17 * r + k) % 1000
with h5py.File("original_training_0.hdf5", "w") as f:
    for name, data, chunks in [
        ("input_ids", ids, (10, 8)),
        ("input_mask", mask, (19, 8)),
        ("segment_ids", segments, (19, 8)),
        ("masked_lm_positions", positions, (19, 2)),
        ("masked_lm_ids", labels, (19, 2)),
        ("next_sentence_labels", (np.arange(N) % 2).astype("i1"), (20,)),
    ]:
        f.create_dataset(name, data=data, dtype=data.dtype, chunks=chunks, compression="gzip", compression_opts=4)
