#!/usr/bin/env python3
"""Writes metrics.json: what scikit-learn and scipy make of answers, for metric_test.go."""
import json
import os
import warnings

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

rng = np.random.default_rng(7)
cases = []


def classes(name, said, right):
    said, right = np.asarray(said), np.asarray(right)
    case = {"case": name, "class": said.tolist(), "right": right.tolist(), "acc": accuracy_score(right, said)}
    if max(said.max(), right.max()) < 2:
        case.update(f1=f1_score(right, said, zero_division=0), mcc=matthews_corrcoef(right, said))
        case["acc_and_f1"] = (case["acc"] + case["f1"]) / 2
    cases.append(case)


def numbers(name, said, right):
    said, right = np.asarray(said, np.float32), np.asarray(right, np.float32)
    with warnings.catch_warnings():  # of constants, whose correlation is not defined: 0 here
        warnings.simplefilter("ignore")
        p, s = np.nan_to_num([pearsonr(said.astype(float), right.astype(float))[0], spearmanr(said, right)[0]]).tolist()
    cases.append({"case": name, "value": said.tolist(), "right_value": right.tolist(), "pearson": p, "spearmanr": s, "corr": (p + s) / 2})


right = (rng.random(300) < 0.68).astype(int)
classes("mostly right", np.where(rng.random(300) < 0.85, right, 1 - right), right)
classes("always 1, as when a checkpoint did not load", np.ones(408, int), [1] * 279 + [0] * 129)
classes("always 0", np.zeros(40, int), rng.integers(0, 2, 40))
classes("all wrong", 1 - right, right)
classes("one example", [1], [1])
classes("three classes", rng.integers(0, 3, 200), rng.integers(0, 3, 200))
x = rng.random(250) * 5
numbers("no ties", x, x + rng.normal(0, 1, 250))
numbers("many ties", np.round(x), np.round(x + rng.normal(0, 1, 250)))
numbers("large mean, small variance", 1000 + x / 100, x)
numbers("falling", -x, x)
numbers("constant answers", np.full(20, 2.5), x[:20])
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "metrics.json"), "w") as out:
    out.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
