"""Writes expected.json: what the model of checkpoints/pretrain_tiny makes of real shards, in float64, padded, by transformers and torch.

usage: expected.py DATA > expected.json
"""
import json
import os
import sys

import h5py
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForPreTraining

data = sys.argv[1]
start = os.path.join(data, "checkpoints", "pretrain_tiny")
config = BertConfig.from_json_file(os.path.join(start, "config.json"))
model = BertForPreTraining(config)
weights = {name: w.double() for name, w in load_file(os.path.join(start, "model.safetensors")).items()}
missing, unknown = model.double().load_state_dict(weights, strict=False)
model.tie_weights()
assert not unknown and all("decoder" in name or "position_ids" in name for name in missing), (missing, unknown)
model.eval()

scores = {}
for name in ("wiki_seq128_pred20", "wiki_seq512_pred80"):
    with h5py.File(os.path.join(data, "hdf5", name + ".hdf5")) as f:
        ids, mask, segments, positions, labels, following = (torch.tensor(f[k][:]).long() for k in (
            "input_ids", "input_mask", "segment_ids", "masked_lm_positions", "masked_lm_ids", "next_sentence_labels"))
    s = dict(sequences=len(ids), tokens=int(mask.sum()), masked_tokens=0, mlm_loss=0.0, nsp_loss=0.0, mlm_correct=0, nsp_correct=0)
    with torch.no_grad():
        for i in range(0, len(ids), 16):
            at = slice(i, i + 16)
            hidden, pooled = model.bert(ids[at], mask[at], segments[at], return_dict=False)
            row, column = torch.nonzero(positions[at], as_tuple=True)
            logits, choice = model.cls(hidden[row, positions[at][row, column]], pooled)
            want = labels[at][row, column]
            s["masked_tokens"] += len(want)
            s["mlm_loss"] += torch.nn.functional.cross_entropy(logits, want, reduction="sum").item()
            s["mlm_correct"] += int((logits.argmax(-1) == want).sum())
            s["nsp_loss"] += torch.nn.functional.cross_entropy(choice, following[at], reduction="sum").item()
            s["nsp_correct"] += int((choice.argmax(-1) == following[at]).sum())
    s["mlm_loss"] /= s["masked_tokens"]
    s["nsp_loss"] /= s["sequences"]
    scores[name] = s
json.dump(scores, sys.stdout, indent=1)
print()
