# Writes expected.json: what Python makes of texts and numbers. python3 expected.py >expected.json
import json
import random

random.seed(1)
pieces = ["a", "Z", "Σ", "ΑΣ", "ος", "Ç", "İ", "I", "ß", "É", "́", "'", ".", "·", " ", "\t", "\x1c", "\x1f", "\u00a0", "\u202f", "\u200b", "\u3000", "\u0085",
          "𝐀", "𐐀", "Ǆ", "ǅ", "ᾈ", "ﬁ", "Ⅷ", "²", "_", "\x00", "\x7f", "\x1b", '"', "\\", "/", "\n", "\r", "\f", "\b", "😀", "中", "\ufeff", "\u00ad", "ʰ", "Ⓐ", "1"]
texts = pieces + ["".join(random.choices(pieces, k=random.randint(2, 12))) for _ in range(400)]
numbers = [0.0, -0.0, 1.0, 0.1, 1e-4, 9.999e-5, 1e-7, 5e-324, 1e15, 1e16, 123456789.0, 1234567.5, 1.7976931348623157e308, 86.13861386138613, -2.5e-10, 1e22, 1 / 3]
numbers += [random.gauss(0, 1) * 10 ** random.randint(-20, 20) for _ in range(300)]
print(json.dumps({
    "texts": [{"text": t, "fields": t.split(), "strip": t.strip(), "dumps": json.dumps(t)} for t in texts],
    "numbers": [{"bits": x.hex(), "dumps": json.dumps(x)} for x in numbers],
}, indent=0))
