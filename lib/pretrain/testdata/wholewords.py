"""Writes wholewords.json, wholewords.txt and wholewords.vocab.txt: run `python3 wholewords.py` in this folder, with CPython 3.

A slow plain version of the original instances, with and without whole-word masking, on words of a made-up language: every word is one to
four pieces, which the tokenizer of the test finds again. The draws are those of Python's own random module.
"""
import hashlib
import json
import random

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
STARTS = [a + b for a in "bdfgk" for b in "aeiou"]
ENDS = ["##" + a + b for a in "lmnrst" for b in "aeiou"]
VOCABULARY = SPECIAL + STARTS + ENDS


def corpus():
    """Documents of sentences of words, a word the list of its pieces."""
    draw = random.Random(2024)
    word = lambda: [draw.choice(STARTS)] + [draw.choice(ENDS) for _ in range(draw.choice([0, 0, 1, 1, 2, 3]))]
    return [[[word() for _ in range(draw.randint(1, 14))] for _ in range(draw.randint(1, 12))] for _ in range(9)]


def cut(a, b, most, draw):
    while len(a) + len(b) > most:
        longer = a if len(a) > len(b) else b
        longer.pop(0 if draw.random() < 0.5 else -1)


def masked(tokens, case, draw):
    groups = []
    for place, token in enumerate(tokens):
        if token in ("[CLS]", "[SEP]"):
            continue
        if case["whole"] and groups and token.startswith("##"):
            groups[-1].append(place)
        else:
            groups.append([place])
    draw.shuffle(groups)
    wanted = min(case["pred"], max(1, round(len(tokens) * case["prob"])))
    shown, chosen = list(tokens), {}
    for group in groups:
        if len(chosen) + len(group) > wanted:
            continue
        for place in group:
            chosen[place] = tokens[place]
            if draw.random() < 0.8:
                shown[place] = "[MASK]"
            elif draw.random() >= 0.5:
                shown[place] = VOCABULARY[draw.randint(0, len(VOCABULARY) - 1)]
    return shown, sorted(chosen), [chosen[p] for p in sorted(chosen)]


def pairs(docs, d, case, draw):
    target = case["seq"] - 3
    if draw.random() < 0.1:
        target = draw.randint(2, case["seq"] - 3)
    at, doc = 0, docs[d]
    while at < len(doc):
        end, size = at, 0
        while end < len(doc) and (end == at or size < target):
            size += len(doc[end])
            end += 1
        split = at + 1 if end - at < 2 else at + draw.randint(1, end - at - 1)
        a, b, other = sum(doc[at:split], []), [], end - at == 1 or draw.random() < 0.5
        if other:
            for _ in range(10):
                r = draw.randint(0, len(docs) - 1)
                if r != d:
                    break
            start, want, other = draw.randint(0, len(docs[r]) - 1), target - len(a), True
            for sentence in docs[r][start:]:
                b += sentence
                if len(b) >= want:
                    break
            other, at = r != d, split
        else:
            b, at = sum(doc[split:end], []), end
        cut(a, b, case["seq"] - 3, draw)
        tokens = ["[CLS]"] + a + ["[SEP]"] + b + ["[SEP]"]
        yield (*masked(tokens, case, draw), [0] * (len(a) + 2) + [1] * (len(b) + 1), other)


def instances(case):
    draw = random.Random(case["seed"])
    docs = [[sum(sentence, []) for sentence in doc] for doc in corpus()]
    draw.shuffle(docs)
    made = [i for _ in range(case["dupe"]) for d in range(len(docs)) for i in pairs(docs, d, case, draw)]
    draw.shuffle(made)
    ids = lambda tokens: [VOCABULARY.index(t) for t in tokens]
    return [[ids(shown), segments, places, ids(labels), int(other)] for shown, places, labels, segments, other in made]


cases = []
for whole in (False, True):
    for seq, pred, dupe, prob, seed in [(32, 5, 4, 0.15, 12345), (128, 20, 5, 0.15, 1), (512, 80, 2, 0.15, 7), (24, 10, 6, 0.5, 3), (16, 1, 3, 0.15, 4)]:
        case = dict(whole=whole, seq=seq, pred=pred, dupe=dupe, prob=prob, seed=seed)
        made = instances(case)
        text = json.dumps(made, separators=(",", ":"))
        case.update(instances=len(made), masked=sum(len(i[2]) for i in made), sha256=hashlib.sha256(text.encode()).hexdigest())
        cases.append(case)
with open("wholewords.json", "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
with open("wholewords.vocab.txt", "w") as f:
    f.write("\n".join(VOCABULARY) + "\n")
with open("wholewords.txt", "w") as f:
    for doc in corpus():
        for sentence in doc:
            f.write(" ".join("".join(p.removeprefix("##") for p in word) for word in sentence) + "\n")
        f.write("\n")
