# Writes marks.json: what the official scripts print on predictions that are hard to mark. python3 marks.py evaluate-v1.1.py evaluate-v2.0.py >marks.json
import json
import random
import subprocess
import sys
import tempfile

random.seed(3)
PARTS = ["the", "A", "an", "éa", "the-end", "ΟΔΟΣ", "İx", "x²", "a\u0301", "“the”", "don't", "$5", "1,000", "a.", "_a", "theater", "中国", "\u00a0", "\u200b", "\x1c", "a–an", "b", "b", "b", "c"]


def text(n):
    return " ".join(random.choices(PARTS, k=n))


def near(t):
    words = t.split(" ")
    random.shuffle(words)
    return random.choice([t, t.upper(), " ".join(words), " ".join(words[:-1]), t + ".", "", text(3), "the"])


def data(version, count):
    qas = []
    for i in range(count):
        answers = [{"text": text(random.randint(1, 4)), "answer_start": 0} for _ in range(random.randint(1, 3))]
        if version == "v2.0" and i % 3 == 0:
            answers = []
        if i % 11 == 5:
            answers = [{"text": random.choice(["the", "...", "a the"]), "answer_start": 0}]
        qas.append({"id": f"q{i}", "question": "?", "answers": answers, "is_impossible": not answers})
    return {"version": version, "data": [{"title": "t", "paragraphs": [{"context": "c", "qas": qas}]}]}


def run(what, script, data, predictions, *more, probs=None):
    with tempfile.TemporaryDirectory() as dir:
        names = []
        for name, value in [("d", data), ("p", predictions)] + ([("n", probs)] if probs else []):
            names.append(f"{dir}/{name}.json")
            json.dump(value, open(names[-1], "w"))
        line = [sys.executable, script] + names[:2] + (["--na-prob-file", names[2]] if probs else []) + list(more)
        stdout = subprocess.run(line, check=True, capture_output=True, text=True).stdout
    return {"what": what, "data": json.dumps(data), "predictions": json.dumps(predictions), "probs": json.dumps(probs) if probs else "", "options": list(more), "stdout": stdout}


def answers(data, keep):
    qas = data["data"][0]["paragraphs"][0]["qas"]
    return {q["id"]: near(q["answers"][0]["text"]) if q["answers"] else random.choice(["", "", "b"]) for q in qas if random.random() < keep}


one, two = data("1.1", 150), data("v2.0", 150)
given = answers(two, 1)
unanswerable = {q["id"] for q in two["data"][0]["paragraphs"][0]["qas"] if not q["answers"]}
probs = {k: round(0.6 * random.random() + 0.4 * (k in unanswerable), 1) for k in random.sample(list(given), len(given))}  # with ties
json.dump([
    run("1.1", sys.argv[1], one, answers(one, 1)),
    run("1.1, answers missing", sys.argv[1], one, answers(one, 0.8)),
    run("2.0", sys.argv[2], two, given),
    run("2.0, no answer above a threshold", sys.argv[2], two, given, "--na-prob-thresh", "0.45", probs=probs),
    run("2.0, best thresholds", sys.argv[2], two, given, probs=probs),
    run("2.0, all answerable", sys.argv[2], data("v2.0", 1) | {"data": one["data"]}, answers(one, 1)),
], sys.stdout, indent=1)
