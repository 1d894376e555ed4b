#!/usr/bin/env python3
"""The peer of finetune.py: fine-tunes Hugging Face's BertForSequenceClassification with PyTorch on a GLUE task and prints one JSON object.

AdamW with bias correction (epsilon 1e-6, weight decay 0.01 but for biases and LayerNorm), gradients clipped to norm 1, a rate that rises over
a tenth of the updates and falls to 0, batches padded to their longest sequence. The speed is that of the updates but the first.
"""
import argparse
import json
import time

import torch
from transformers import BertForSequenceClassification, BertTokenizerFast

COLUMNS = {"mrpc": (True, 3, 4, 0), "sst-2": (True, 0, None, 1), "cola": (False, 3, None, 1)}  # column names, two texts, label


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("task", choices=COLUMNS)
    p.add_argument("data", help="folder of the task")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--updates", type=int, default=0, help="no more than these, and no evaluation")
    p.add_argument("--limit", type=int, default=0, help="the first examples alone")
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--rate", type=float, default=1e-4)
    p.add_argument("--length", type=int, default=128)
    p.add_argument("--threads", type=int, default=2)
    return p.parse_args()


def examples(o, tokenizer, name):
    """The token ids, their segments and the label of each line."""
    named, a, b, label = COLUMNS[o.task]
    with open(f"{o.data}/{name}.tsv", encoding="utf-8-sig", newline="\n") as f:
        rows = [line.rstrip("\r\n").split("\t") for line in f][named:]
    for row in rows[: o.limit or None] if name == "train" else rows:
        e = tokenizer(row[a], None if b is None else row[b], truncation="longest_first", max_length=o.length)
        yield e["input_ids"], e["token_type_ids"], int(row[label])


def batch(chosen):
    longest = max(len(ids) for ids, _, _ in chosen)
    pad = lambda rows: torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    return dict(input_ids=pad([ids for ids, _, _ in chosen]), token_type_ids=pad([kinds for _, kinds, _ in chosen]),
                attention_mask=pad([[1] * len(ids) for ids, _, _ in chosen]), labels=torch.tensor([label for _, _, label in chosen]))


def train(o, model, rows):
    plain = lambda name: name.endswith("bias") or "LayerNorm" in name
    groups = [dict(params=[p for n, p in model.named_parameters() if plain(n) == flat], weight_decay=0 if flat else 0.01) for flat in (False, True)]
    optimizer = torch.optim.AdamW(groups, lr=o.rate, eps=1e-6)
    updates = o.epochs * -(-len(rows) // o.batch)
    rising = max(1, updates // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda u: (u + 1) / rising if u < rising else (updates - u) / (updates - rising))
    model.train()
    generator = torch.Generator().manual_seed(o.seed)
    seen, begun, done = 0, 0.0, 0
    for _ in range(o.epochs):
        order = torch.randperm(len(rows), generator=generator).tolist()
        for start in range(0, len(order), o.batch):
            optimizer.zero_grad(set_to_none=True)
            chosen = [rows[i] for i in order[start : start + o.batch]]
            model(**batch(chosen)).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            done += 1
            if done == 1:
                begun = time.perf_counter()
            else:
                seen += len(chosen)
            if done == o.updates:
                return seen / (time.perf_counter() - begun)
    return seen / (time.perf_counter() - begun)


def main():
    o = options()
    torch.set_num_threads(o.threads)
    torch.manual_seed(o.seed)
    tokenizer = BertTokenizerFast.from_pretrained(o.model, do_lower_case=True)
    model = BertForSequenceClassification.from_pretrained(o.model, num_labels=2)
    out = {"task": o.task, "seed": o.seed, "sequences_per_s": train(o, model, list(examples(o, tokenizer, "train")))}
    if not o.updates:
        model.eval()
        dev, right = list(examples(o, tokenizer, "dev")), 0
        with torch.no_grad():
            for start in range(0, len(dev), o.batch):
                b = batch(dev[start : start + o.batch])
                right += int((model(**b).logits.argmax(1) == b["labels"]).sum())
        out["acc"] = right / len(dev)
    print(json.dumps(out))


main()
