#!/usr/bin/env python3
"""Writes languages.json: texts in many scripts, two small vocabularies, and the ids that NVIDIA's tokenization.py gives them.

usage: languages.py REFERENCE GOLDEN MULTILINGUAL > languages.json

REFERENCE is the folder with tokenization.py, GOLDEN a JSON-lines file with a "text" a line (here: the Universal Declaration of Human Rights,
public domain), MULTILINGUAL the vocabulary bert-base-multilingual-cased. "chinese" is made as Google's Chinese vocabulary is: single
characters and "##" with each, and only some words of ASCII; every seventh character is left out, so that unknown words come up.
"multilingual" holds the pieces of MULTILINGUAL that the texts need, but for every ninth. For the whole of MULTILINGUAL there is a SHA-256
of the ids of every text of GOLDEN: decimal numbers, blanks between them, a newline after each text.
"""
import hashlib
import json
import sys
import tempfile

SOURCES = "xquad.zh udhr2/jpn udhr2/hye udhr2/rus udhr2/ukr udhr2/bul udhr2/tur udhr2/vie udhr2/deu udhr2/fra udhr2/ces".split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def tokenizer(entries, lower):
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as f:
        f.write("".join(e + "\n" for e in entries))
        f.flush()
        return tokenization.BertTokenizer(f.name, do_lower_case=lower, max_len=1 << 30)


def ids(tok, text):
    return tok.convert_tokens_to_ids(tok.tokenize(text))


reference, golden, multilingual = sys.argv[1:]
sys.path.insert(0, reference)
import tokenization  # noqa: E402  the folder is an argument

every = [json.loads(line) for line in open(golden, encoding="ascii")]
texts = []
for source in SOURCES:
    texts += [r["text"] for r in every if r["source"].startswith(source)][:8 if source == "xquad.zh" else 2]
texts += ["ทุกคนเกิดมามีอิสระ", "يولد جميع الناس أحرارا", "सभी मनुष्यों को गौरव", "כל בני אדם נולדו", "모든 인간은 태어날 때부터", "எல்லா மனிதரும்", "ყველა ადამიანი", "中文abc 我们ABC，你好。", "東京タワー123", "학교에 갑니다", "ＦＵＬＬ　ｗｉｄｔｈ", "\U00020000\U0002a6d6 𠀀字", "n̈ö ﬁ ß İI"]

characters = sorted({c for t in texts for c in t if not c.isspace()} | set("abcdefghijklmnopqrstuvwxyz0123456789"))
kept = [c for i, c in enumerate(characters) if i % 7]
chinese = SPECIAL + kept + ["##" + c for c in kept] + ["the", "hello", "abc", "##ing"]

with open(multilingual, encoding="utf-8") as f:
    entries = f.read().split("\n")
whole = tokenization.BertTokenizer(multilingual, do_lower_case=False, max_len=1 << 30)
needed = {piece for t in texts for piece in whole.tokenize(t)} - set(SPECIAL)
small = SPECIAL + [e for i, e in enumerate(sorted(needed)) if i % 9]
digest = hashlib.sha256()
for r in every:
    digest.update((" ".join(map(str, ids(whole, r["text"]))) + "\n").encode())

cases = []
for name, vocabulary, lower in [("chinese", chinese, True), ("multilingual", small, False)]:
    tok = tokenizer(vocabulary, lower)
    cases.append({"name": name, "lower": lower, "vocabulary": vocabulary, "ids": [ids(tok, t) for t in texts]})
json.dump({"texts": texts, "cases": cases, "multilingual_cased_sha256": digest.hexdigest()}, sys.stdout, ensure_ascii=False, separators=(",", ":"))
print()
