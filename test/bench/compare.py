#!/usr/bin/env python3
"""Compares bertrain with PyTorch (peer.py) on the same shards, in turns, and writes a table and a CSV file.

First each of PyTorch's settings is tried alone, and kept if it is faster: micro-batch, memory allocator, what OpenMP's threads do while they
wait, attention, torch.compile. Then come rounds: bertrain, PyTorch as installed, PyTorch with the best settings. Each run is a process of its
own and warms up first. Sequences/s are medians over the rounds; the ratio is of the medians.
"""
import argparse
import csv
import ctypes.util
import dataclasses
import glob
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

import h5py

HERE = os.path.dirname(os.path.abspath(__file__))
OUR_MICRO_BATCH = {128: 32, 512: 8}
MICRO_BATCHES = {128: (8, 16, 32), 512: (2, 4, 8)}
COLUMNS = ("model", "length", "precision", "who", "setting", "micro_batch", "sequences_per_s", "runs", "memory_mib", "ratio", "data_percent", "others",
           "cpu", "device", "threads", "date", "commit", "peer")


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True, help="HDF5 shard, or a folder with some somewhere below")
    p.add_argument("--config", default="configs/model/base.json", help="model shape")
    p.add_argument("--length", type=int, action="append", choices=(128, 512), help="may be repeated (default: both)")
    p.add_argument("--precision", action="append", choices=("fp32", "bf16"), help="may be repeated (default: both)")
    p.add_argument("--tokens", type=int, default=8192, help="of an update: the global batch is that / length")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--updates", type=int, default=1, help="of a run")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--quick", action="store_true", help="one round, one update of one micro-batch of 4 sequences, no search for settings: shows that it works")
    p.add_argument("-o", "--output", default="build/bench-torch.csv")
    return p.parse_args()


@dataclasses.dataclass(frozen=True)
class Setting:
    """How PyTorch is run. Each change from the defaults adds to the name."""
    micro_batch: int
    name: str = "defaults"
    environment: tuple = ()
    arguments: tuple = ()

    def changed(self, name, environment=(), arguments=()):
        known = "" if self.name == "defaults" else self.name + ", "
        return dataclasses.replace(self, name=known + name, environment=self.environment + environment, arguments=self.arguments + arguments)


def changes():
    """What is tried: groups of alternatives, of which at most one is kept."""
    keep = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=8589934592:glibc.malloc.top_pad=268435456"
    allocators = [("malloc keeps memory", (("GLIBC_TUNABLES", keep),), ()),
                  ("malloc keeps memory in huge pages", (("GLIBC_TUNABLES", keep + ":glibc.malloc.hugetlb=1"),), ())]
    for library in ("jemalloc", "tcmalloc", "tcmalloc_minimal"):
        found = ctypes.util.find_library(library)
        if found:
            allocators.append((library, (("LD_PRELOAD", found),), ()))
    waiting = [(f"OMP_WAIT_POLICY={policy}", (("OMP_WAIT_POLICY", policy),), ()) for policy in ("PASSIVE", "ACTIVE")]
    return [allocators, waiting, [("eager attention", (), ("--attention", "eager"))], [("torch.compile", (), ("--compile",))]]


def busy():
    """CPU seconds that all processes have used."""
    with open("/proc/stat") as stat:
        fields = [int(x) for x in stat.readline().split()[1:]]
    return sum(fields[i] for i in (0, 1, 2, 5, 6, 7)) / os.sysconf("SC_CLK_TCK")


def run(command, environment=()):
    """Runs a command; returns its output, its largest resident size and the cores that others used."""
    before, begin = busy(), time.monotonic()
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, env={**os.environ, **dict(environment)}, stdout=subprocess.PIPE, stderr=errors, text=True)
        with child.stdout:
            text = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            errors.seek(0)
            raise RuntimeError(f"{' '.join(command)}: status {child.returncode}\n{errors.read().decode()[-2000:]}")
    others = max(0, busy() - before - usage.ru_utime - usage.ru_stime) / (time.monotonic() - begin)
    return text, usage.ru_maxrss * 1024, others


class Comparison:
    """bertrain and PyTorch at one length and precision."""

    def __init__(self, o, shard, work, length, precision):
        self.o, self.shard, self.work, self.length, self.precision = o, shard, work, length, precision
        self.micro = 4 if o.quick else OUR_MICRO_BATCH[length]
        self.batch = 4 if o.quick else max(self.micro, o.tokens // length)
        self.data = os.path.join(work, f"data-{length}")
        if not os.path.isdir(self.data):
            os.mkdir(self.data)
            os.symlink(os.path.abspath(shard), os.path.join(self.data, "training.hdf5"))
        self.config = os.path.join(work, "model.json")
        self.versions = self.device = ""

    def ours(self):
        """Sequences/s of the median update, peak memory, others, share of the time that it waited for data. The first update warms up."""
        with tempfile.TemporaryDirectory(dir=self.work) as out:
            command = ["bin/bertrain", "-q", "-j", str(self.o.threads), "--config", self.config, "--data", self.data, "-o", out, "--order", "file",
                       "--precision", self.precision, "--global-batch", str(self.batch), "--micro-batch", str(self.micro),
                       "--steps", str(1 + self.o.updates), "--save-every", "0"]
            _, memory, others = run(command)
            with open(os.path.join(out, "metrics.jsonl")) as lines:
                first, *steps = [json.loads(line) for line in lines]
        self.device = first["device"]
        waited = sum(s["data_seconds"] for s in steps[1:]) / sum(s["seconds"] for s in steps[1:])
        return self.batch / statistics.median(s["seconds"] for s in steps[1:]), memory, others, waited

    def theirs(self, setting, short=False):
        """The same of PyTorch, where nothing waits for data: it is in memory; short: one micro-batch of ours."""
        batch = max(self.micro, setting.micro_batch) if short else self.batch
        command = [sys.executable, os.path.join(HERE, "peer.py"), self.shard, "--config", self.config, "--threads", str(self.o.threads), "--global-batch", str(batch),
                   "--precision", self.precision, "--micro-batch", str(setting.micro_batch), "--updates", str(self.o.updates), *setting.arguments]
        text, _, others = run(command, setting.environment)
        result = json.loads(text.splitlines()[-1])
        self.versions = result["versions"]
        return batch / statistics.median(result["seconds"]), result["memory"], others, None

    def tune(self):
        """Returns PyTorch's defaults and its best settings."""
        def measured(setting):
            try:
                speed, _, others, _ = self.theirs(setting, short=True)
            except RuntimeError as e:  # a setting that this machine does not take is no setting
                speed, others = 0, 0
                print(f"compare: {setting.name}: {e}", file=sys.stderr)
            print(f"compare: {self.length} {self.precision}: PyTorch, micro-batch {setting.micro_batch}, {setting.name}: {speed:.3f} sequences/s, others {others:.2f}", file=sys.stderr)
            return speed
        sizes = [n for n in MICRO_BATCHES[self.length] if self.batch % n == 0]
        speeds = {Setting(n): measured(Setting(n)) for n in sizes}
        defaults = best = max(speeds, key=speeds.get)
        speed = speeds[best]
        for group in changes():
            tried = {setting: measured(setting) for setting in (best.changed(*change) for change in group)}
            winner = max(tried, key=tried.get)
            if tried[winner] > speed:
                best, speed = winner, tried[winner]
        other_sizes = {s: measured(s) for s in (dataclasses.replace(best, micro_batch=n) for n in sizes if n != best.micro_batch)}
        winner = max(other_sizes, key=other_sizes.get, default=best)
        if other_sizes.get(winner, 0) > speed:
            best = winner
        return defaults, best

    def rows(self):
        """Runs all in turns and returns the lines of the table."""
        defaults = best = Setting(self.micro)
        if not self.o.quick:
            defaults, best = self.tune()
        who = {("hpcbert", "", self.micro): self.ours, ("PyTorch", defaults.name, defaults.micro_batch): lambda: self.theirs(defaults)}
        if best != defaults:
            who["PyTorch", best.name, best.micro_batch] = lambda: self.theirs(best)
        results = {key: [] for key in who}
        for number in range(1 if self.o.quick else self.o.rounds):
            for key, measure in who.items():
                results[key].append(measure())
                print(f"compare: {self.length} {self.precision} round {number + 1}: {key[0]} {key[1]}: {results[key][-1][0]:.3f} sequences/s", file=sys.stderr)
        medians = {key: [None if None in column else statistics.median(column) for column in zip(*values)] for key, values in results.items()}
        our_speed = medians["hpcbert", "", self.micro][0]
        for (name, setting, micro), (speed, memory, others, waited) in medians.items():
            yield {"model": os.path.splitext(os.path.basename(self.o.config))[0], "length": self.length, "precision": self.precision, "who": name, "setting": setting,
                   "micro_batch": micro, "sequences_per_s": f"{speed:.3f}", "runs": len(results[name, setting, micro]), "memory_mib": int(memory) >> 20,
                   "ratio": f"{our_speed / speed:.2f}", "data_percent": "" if waited is None else f"{100 * waited:.2f}",
                   "others": f"{others:.2f}", "device": self.device, "peer": self.versions}


def has_bf16():
    """Whether the CPU multiplies bfloat16; PyTorch takes minutes a step where it does not."""
    with open("/proc/cpuinfo") as f:
        return re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", f.read()) is not None


def cpu_model():
    with open("/proc/cpuinfo") as f:
        found = re.search(r"^model name\s*: (.*)$", f.read(), re.M)
    return found.group(1) if found else platform.machine()


def commit():
    found = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def shards(data):
    """The file with the most rows for each length of sequences."""
    names = [data] if os.path.isfile(data) else glob.glob(os.path.join(data, "**", "*.hdf5"), recursive=True)
    best = {}
    for name in sorted(names):
        with h5py.File(name) as f:
            if {"input_ids", "masked_lm_positions", "next_sentence_labels"} <= set(f):
                rows, length = f["input_ids"].shape
                best[length] = max(best.get(length, (0, "")), (rows, name))
    return {length: name for length, (_, name) in best.items()}


def write(name, rows):
    """Writes the file whole."""
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    temporary = f"{name}.{os.getpid()}"
    with open(temporary, "w", newline="") as f:
        out = csv.DictWriter(f, COLUMNS)
        out.writeheader()
        out.writerows(rows)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, name)


def show(rows, about):
    print(f"# {about['cpu']}, {rows[0]['device']}, {about['threads']} threads, {about['date']}, commit {about['commit']}; {rows[0]['peer']}")
    names = COLUMNS[:COLUMNS.index("cpu")]
    table = [names] + [[str(row[name]) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def main():
    o = options()
    about = {"cpu": cpu_model(), "threads": o.threads, "date": time.strftime("%Y-%m-%d", time.gmtime()), "commit": commit()}
    found, rows = shards(o.data), []
    with tempfile.TemporaryDirectory(prefix="compare-") as work:
        with open(o.config) as f:
            config = {"vocab_size": 30522, **json.load(f)}
        with open(os.path.join(work, "model.json"), "w") as f:
            json.dump(config, f)
        for precision in o.precision or ("fp32", "bf16"):
            if precision == "bf16" and not has_bf16():
                print("compare: bf16 skipped: this CPU has no bfloat16 instructions, PyTorch takes minutes a step", file=sys.stderr)
                continue
            for length in o.length or (128, 512):
                if length not in found:
                    print(f"compare: {length} skipped: no shard of sequences of {length} tokens in {o.data}", file=sys.stderr)
                    continue
                for row in Comparison(o, found[length], work, length, precision).rows():
                    rows.append({**row, **about})
                    write(o.output, rows)
    if rows:
        show(rows, about)


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError) as e:
        sys.exit(f"compare: error: {e}")
