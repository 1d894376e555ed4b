#!/usr/bin/env python3
"""finetune.py speed|accuracy BIN MODEL DATA: glueft beside Hugging Face's BERT with PyTorch on the same task, batch, optimizer and threads.

BIN has glueft, MODEL is a folder of Hugging Face's with a BERT without head, DATA has MRPC and SST-2 as getdata leaves them.
speed trains both for some updates, in turns, and prints the medians of sequences/s (of the updates but the first) and their ratio.
accuracy trains both with each seed (MRPC 3 times, the first 12,000 examples of SST-2 once, rate 1e-4) and prints both means of the accuracies on
dev.tsv, and their difference in standard errors. It takes hours; results stay in --out and are not made again.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

TASKS = {"mrpc": ("MRPC", ["--epochs", "3"]), "sst-2": ("SST-2", ["--epochs", "1", "--limit", "12000"])}


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=("speed", "accuracy"))
    p.add_argument("bin")
    p.add_argument("model")
    p.add_argument("data")
    p.add_argument("--tasks", default="mrpc,sst-2")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--rounds", type=int, default=3, help="of speed")
    p.add_argument("--updates", type=int, default=10, help="of a round")
    p.add_argument("--seeds", type=int, default=5, help="of accuracy")
    p.add_argument("--out", default="build/bench-finetune")
    p.add_argument("--python", default=sys.executable, help="which has torch and transformers")
    return p.parse_args()


def ours(o, task, out, *more):
    folder, recipe = TASKS[task]
    subprocess.run([f"{o.bin}/glueft", "-q", "--task", task, "--data", f"{o.data}/{folder}", "--init", o.model, "-o", out, "-j", str(o.threads), "--global-batch", "32",
                    "--learning-rate", "1e-4", "--warmup", "0.1", "--optimizer", "adamw", *recipe, "--train", *more], check=True, stdout=subprocess.DEVNULL)


def peer(o, task, *more):
    folder, recipe = TASKS[task]
    line = [o.python, os.path.join(os.path.dirname(os.path.abspath(__file__)), "finetune_peer.py"), o.model, task, f"{o.data}/{folder}", "--threads", str(o.threads), *recipe, *more]
    return json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)


def our_speed(o, task):
    out = f"{o.out}/speed-{task}"
    subprocess.run(["rm", "-rf", out], check=True)
    ours(o, task, out, "--max-steps", str(o.updates), "--skip_checkpoint")
    with open(f"{out}/metrics.jsonl") as f:
        steps = [line for line in map(json.loads, f) if "step" in line][1:]
    return sum(s["sequences"] for s in steps) / sum(s["seconds"] for s in steps)


def speed(o, task):
    pairs = [(our_speed(o, task), peer(o, task, "--updates", str(o.updates))["sequences_per_s"]) for _ in range(o.rounds)]
    mine, other = (statistics.median(column) for column in zip(*pairs))
    print(f"{task}\tglueft {mine:.1f} sequences/s\tPyTorch {other:.1f}\t{mine / other:.2f} times as many\t{pairs}", flush=True)


def accuracies(o, task):
    """Of ours and of the peer, by seed."""
    result = {}
    for who in ("glueft", "peer"):
        for seed in range(1, o.seeds + 1):
            name = f"{o.out}/{who}-{task}-{seed}"
            if not os.path.exists(f"{name}.json"):
                if who == "peer":
                    text = json.dumps(peer(o, task, "--seed", str(seed)))
                else:
                    ours(o, task, name, "--eval", "--seed", str(seed), "--skip_checkpoint")
                    text = open(f"{name}/results.txt").read()
                with open(f"{name}.json", "w") as f:
                    f.write(text)
            with open(f"{name}.json") as f:
                result.setdefault(who, []).append(100 * json.load(f)["acc"])
    return result["glueft"], result["peer"]


def accuracy(o, task):
    sides = accuracies(o, task)
    means = [statistics.mean(side) for side in sides]
    error = sum(statistics.variance(side) / len(side) for side in sides) ** 0.5
    for who, side, mean in zip(("glueft", "PyTorch"), sides, means):
        print(f"{task}\t{who}\t{mean:.2f} +- {statistics.stdev(side):.2f}\t{' '.join(f'{x:.2f}' for x in side)}")
    print(f"{task}\tdifference {means[0] - means[1]:.2f}, {abs(means[0] - means[1]) / error:.2f} standard errors of {error:.2f}", flush=True)


def main():
    o = options()
    os.makedirs(o.out, exist_ok=True)
    for task in o.tasks.split(","):
        {"speed": speed, "accuracy": accuracy}[o.what](o, task)


main()
