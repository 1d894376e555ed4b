#!/usr/bin/env python3
"""Compares inference of an encoder with ONNX Runtime and PyTorch on the same records, in turns, and writes a table and a CSV file.

Records are lines of a text, a tab between two segments. They are taken in batches in their order. Ours (build/bench infer) computes no padding;
the peers pad each batch to its longest record, or with --pad to the length that the original's programs pad to. Weights are random: speed does
not depend on them. Each run is a process of its own; its first round warms up and is what reference_per_s counts, as the original's programs do.
Figures are medians over the rounds, ratios are of the medians; latency is that of the median batch.
"""
import argparse
import csv
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from compare import commit, cpu_model

COLUMNS = ("set", "most_tokens", "model", "batch", "who", "ms", "p95_ms", "p99_ms", "sequences_per_s", "reference_per_s", "latency_ratio", "throughput_ratio", "rounds",
           "cpu", "device", "threads", "date", "commit")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", help="folder of real data; its sets: wiki, mrpc, sst-2, squad")
    p.add_argument("--set", action="append", choices=("wiki", "mrpc", "sst-2", "squad"), help="may be repeated (default: wiki)")
    p.add_argument("--text", help="records, instead of --data")
    p.add_argument("--vocab", help="vocabulary (default: that of --data)")
    p.add_argument("--config", default="configs/model/base.json", help="model shape")
    p.add_argument("--batch", type=int, action="append", help="may be repeated (default: 1, 2, 4, 8)")
    p.add_argument("--records", type=int, default=64)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--pad", action="store_true", help="peers: pad to the longest record that may be, 128 tokens or SQuAD's 384")
    p.add_argument("--torch", action="store_true", help="PyTorch, too")
    p.add_argument("--onnx", help="file of the encoder in ONNX; it is made when it is missing (default: made each time)")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--peer", choices=("onnxruntime", "torch"), help=argparse.SUPPRESS)  # this process is one
    p.add_argument("--seq", type=int, default=128, help=argparse.SUPPRESS)
    p.add_argument("-o", "--output", default="build/bench-infer.csv")
    o = p.parse_args()
    o.batch = o.batch or [1, 2, 4, 8]
    return o


def wiki(data):
    with gzip.open(os.path.join(data, "wiki/golden/enwiki-shortened.punkt_sentences.txt.gz"), "rt", encoding="utf-8") as lines:
        yield from (line.strip() for line in lines if line.strip())


def tsv(data, name, *columns):
    with open(os.path.join(data, "glue", name), encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            fields = line.rstrip("\n").split("\t")
            yield "\t".join(fields[c] for c in columns)


def squad(data):
    with open(os.path.join(data, "squad/dev-v1.1.shared.json"), encoding="utf-8") as f:
        for article in json.load(f)["data"]:
            for paragraph in article["paragraphs"][:4]:  # of many articles
                yield "\t".join(" ".join(text.split()) for text in (paragraph["qas"][0]["question"], paragraph["context"]))


SETS = {"wiki": wiki, "mrpc": lambda data: tsv(data, "MRPC/dev.tsv", 3, 4), "sst-2": lambda data: tsv(data, "SST-2/dev.tsv", 0), "squad": squad}


def records(o, name, work):
    """The file of a set, and its most tokens."""
    if o.text:
        return o.text, o.seq
    file = os.path.join(work, name)
    with open(file, "w", encoding="utf-8") as out:
        for _, line in zip(range(o.records), SETS[name](o.data)):
            out.write(line + "\n")
    return file, 384 if name == "squad" else 128


def percentile(values, p):
    return sorted(values)[max(0, -(-len(values) * p // 100) - 1)]


def summary(cold, warm, size):
    return {"ms": 1e3 * statistics.median(warm), "p95_ms": 1e3 * percentile(warm, 95), "p99_ms": 1e3 * percentile(warm, 99),
            "sequences_per_s": size * len(warm) / sum(warm), "reference_per_s": size * len(cold) / sum(cold)}


def bert_model(o):
    from transformers import BertConfig, BertModel
    with open(o.config, encoding="utf-8") as f:
        return BertModel(BertConfig(**{"vocab_size": 30522, **json.load(f)})).eval()


def encodings(o, size):
    from transformers import BertTokenizerFast
    tokenizer = BertTokenizerFast(vocab=o.vocab)
    with open(o.text, encoding="utf-8") as lines:
        pairs = [line.rstrip("\n").split("\t", 1) for line in lines if line.strip()][:o.records]
    padding = {"padding": "max_length" if o.pad else True, "truncation": True, "max_length": o.seq, "return_tensors": "pt"}
    for i in range(0, len(pairs) - size + 1, size):
        yield tokenizer(*map(list, zip(*pairs[i:i + size])), **padding)


def export(o, file):
    """Writes the encoder in ONNX."""
    import torch

    class Hidden(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state

    axes = {name: {0: "batch", 1: "length"} for name in (*INPUTS, "hidden")}
    ones = torch.ones((2, 8), dtype=torch.long)
    torch.onnx.export(Hidden(bert_model(o)), (ones, ones, ones), file, input_names=list(INPUTS), output_names=["hidden"], dynamo=False, opset_version=17, dynamic_axes=axes)


def peer(o):
    """Runs one of the peers and prints what summary makes, a line for each size of batch."""
    if o.peer == "torch":
        import torch
        torch.set_num_threads(o.threads)
        model = torch.inference_mode()(bert_model(o).forward)
        call = lambda e: model(**{name: e[name] for name in INPUTS})
    else:
        import onnxruntime
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = o.threads
        session = onnxruntime.InferenceSession(o.onnx, settings, providers=["CPUExecutionProvider"])
        call = lambda e: session.run(None, {name: e[name].numpy() for name in INPUTS})
    for size in o.batch:
        batches, seconds = list(encodings(o, size)), []
        for batch in batches + batches:
            begin = time.perf_counter()
            call(batch)
            seconds.append(time.perf_counter() - begin)
        print(json.dumps(summary(seconds[:len(batches)], seconds[len(batches):], size)))


def run(command):
    child = subprocess.run(command, capture_output=True, text=True)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)}: status {child.returncode}\n{child.stderr[-2000:]}")
    return child.stdout


def ours(o, text, seq, work):
    file = os.path.join(work, "ours.csv")
    run(["build/bench", "infer", "-q", "-j", str(o.threads), "--config", o.config, "--precision", "fp32", "--text", text, "--vocab", o.vocab, "--seq", str(seq),
         "--records", str(o.records), "--updates", "1", "-o", file] + [f"--batch={n}" for n in o.batch])
    with open(file, newline="") as lines:
        rows = list(csv.DictReader(lines))
    o.device = rows[0]["device"]
    return [{name: float(row[name]) for name in ("ms", "p95_ms", "p99_ms", "sequences_per_s", "reference_per_s")} for row in rows]


def theirs(o, who, text, seq, work):
    command = [sys.executable, os.path.abspath(__file__), "--peer", who, "--text", text, "--vocab", o.vocab, "--config", o.config, "--seq", str(seq), "--records", str(o.records),
               "--threads", str(o.threads), "--onnx", o.onnx] + [f"--batch={n}" for n in o.batch] + ["--pad"] * o.pad
    return [json.loads(line) for line in run(command).splitlines() if line.startswith("{")]


def compare(o, name, work):
    """The lines of a set."""
    text, seq = records(o, name, work)
    who = {"hpcbert": lambda: ours(o, text, seq, work), "ONNX Runtime": lambda: theirs(o, "onnxruntime", text, seq, work)}
    if o.torch:
        who["PyTorch"] = lambda: theirs(o, "torch", text, seq, work)
    results = {key: [] for key in who}
    for number in range(o.rounds):
        for key, measure in who.items():
            results[key].append(measure())
            print(f"infer: {name} round {number + 1}: {key}: " + ", ".join(f"batch {n}: {r['sequences_per_s']:.1f}/s" for n, r in zip(o.batch, results[key][-1])), file=sys.stderr)
    for i, size in enumerate(o.batch):
        medians = {key: {name: statistics.median(r[i][name] for r in rounds) for name in rounds[0][i]} for key, rounds in results.items()}
        our = medians["hpcbert"]
        for key, values in medians.items():
            yield {"set": name, "most_tokens": seq, "model": os.path.splitext(os.path.basename(o.config))[0], "batch": size, "who": key + ", padded" * (o.pad and key != "hpcbert"),
                   **{name: f"{x:.1f}" for name, x in values.items()}, "latency_ratio": f"{values['ms'] / our['ms']:.2f}",
                   "throughput_ratio": f"{our['sequences_per_s'] / values['sequences_per_s']:.2f}", "rounds": o.rounds}


def main():
    o = options()
    if o.peer:
        return peer(o)
    o.vocab = o.vocab or os.path.join(o.data, "wordpiece/vocab/bert-base-uncased-vocab.txt")
    rows = []
    with tempfile.TemporaryDirectory(prefix="infer-") as work:
        o.onnx = o.onnx or os.path.join(work, "encoder.onnx")
        if not os.path.exists(o.onnx):
            export(o, o.onnx)
        for name in ["text"] if o.text else o.set or ["wiki"]:
            rows += compare(o, name, work)
    about = {"cpu": cpu_model(), "device": o.device, "threads": o.threads, "date": time.strftime("%Y-%m-%d", time.gmtime()), "commit": commit()}
    rows = [{**row, **about} for row in rows]
    os.makedirs(os.path.dirname(o.output) or ".", exist_ok=True)
    with open(o.output, "w", newline="") as f:
        out = csv.DictWriter(f, COLUMNS)
        out.writeheader()
        out.writerows(rows)
    shown = COLUMNS[:COLUMNS.index("rounds")]
    table = [shown] + [[str(row[name]) for name in shown] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table)]
    print(f"# {about['cpu']}, {about['device']}, {about['threads']} threads, {about['date']}, commit {about['commit']}")
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError) as e:
        sys.exit(f"infer: error: {e}")
