#!/usr/bin/env python3
"""The peer: trains Hugging Face's BertForPreTraining with PyTorch on a pre-training shard and prints one JSON object.

An update is --global-batch sequences in micro-batches: forward, backward, gradients clipped to norm 1, fused AdamW. Rows come in the order of
the file, padded as they are stored. The first update, of one micro-batch, only warms up. Times are of the updates, memory is the largest
resident size of the process.
"""
import argparse
import json
import time

import h5py
import numpy as np
import torch
import transformers


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("shard", help="HDF5 file")
    p.add_argument("--config", required=True, help="model shape with vocab_size")
    p.add_argument("--global-batch", type=int, default=64)
    p.add_argument("--micro-batch", type=int, default=16)
    p.add_argument("--updates", type=int, default=1)
    p.add_argument("--threads", type=int, required=True)
    p.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    p.add_argument("--attention", choices=("sdpa", "eager"), default="sdpa")
    p.add_argument("--compile", action="store_true")
    return p.parse_args()


class Rows:
    """The rows of a shard, again and again."""

    def __init__(self, name):
        with h5py.File(name) as f:
            self.columns = {key: f[key][:] for key in f}
        self.count, self.length = self.columns["input_ids"].shape
        self.next = 0

    def take(self, n):
        rows = [(self.next + i) % self.count for i in range(n)]
        self.next += n
        labels = np.full((n, self.length), -100, np.int64)  # -100: no loss there
        for i, row in enumerate(rows):
            ids = self.columns["masked_lm_ids"][row]
            labels[i, self.columns["masked_lm_positions"][row][ids > 0]] = ids[ids > 0]
        named = {
            "input_ids": self.columns["input_ids"][rows],
            "attention_mask": self.columns["input_mask"][rows],
            "token_type_ids": self.columns["segment_ids"][rows],
            "labels": labels,
            "next_sentence_label": self.columns["next_sentence_labels"][rows],
        }
        return {name: torch.from_numpy(values.astype(np.int64)) for name, values in named.items()}


class Peer:
    def __init__(self, o):
        torch.set_num_threads(o.threads)
        torch.manual_seed(1)
        config = transformers.BertConfig.from_json_file(o.config)
        config._attn_implementation = o.attention
        self.o, self.rows = o, Rows(o.shard)
        self.model = transformers.BertForPreTraining(config).train()
        self.forward = torch.compile(self.model) if o.compile else self.model
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)

    def update(self, sequences):
        """Returns how many tokens are no padding."""
        tokens = 0
        micros = sequences // self.o.micro_batch
        self.optimizer.zero_grad(set_to_none=True)
        for _ in range(micros):
            batch = self.rows.take(self.o.micro_batch)
            tokens += int(batch["attention_mask"].sum())
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.o.precision == "bf16"):
                loss = self.forward(**batch).loss
            (loss / micros).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return tokens


def peak_memory():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def main():
    o = options()
    if o.global_batch % o.micro_batch:
        raise SystemExit(f"a global batch of {o.global_batch} is no multiple of micro-batches of {o.micro_batch}")
    peer = Peer(o)
    peer.update(o.micro_batch)
    seconds, tokens = [], 0
    for _ in range(o.updates):
        begin = time.perf_counter()
        tokens += peer.update(o.global_batch)
        seconds.append(time.perf_counter() - begin)
    versions = f"PyTorch {torch.__version__}, transformers {transformers.__version__}"
    print(json.dumps({"seconds": seconds, "tokens": tokens, "memory": peak_memory(), "versions": versions}))


if __name__ == "__main__":
    main()
