#!/usr/bin/env python3
"""data-segment.py BIN DATA: segment against NLTK's Punkt with the same parameters, in turns: ours, NLTK, ours. Rates are of processor
time, user and system, so of one core; NLTK's without its start. The text is real, encyclopedia articles and books, repeated; NLTK, which
would take minutes, gets it once. NLTK must be installed for this interpreter, else it is skipped; its data need not. Its sentences are
ours with 3.8, as the reference had it (pip install nltk==3.8.1); later ones take typographic quotes for the end of a sentence too."""
import gzip, json, os, resource, subprocess, sys, tempfile, time

WANT = 200_000_000  # bytes of text


def documents(data):
    """The articles and books, a line each, as the reference formats them."""
    with gzip.open(f"{data}/wiki/golden/enwiki-shortened.one_article_per_line.txt.gz", "rt", encoding="utf-8", newline="\n") as articles:
        found = [line.rstrip() for line in articles if line.strip()]
    folder = f"{data}/books/gutenberg"
    for name in sorted(os.listdir(folder)):
        try:
            with open(f"{folder}/{name}", encoding="utf-8-sig") as book:
                found.append(" ".join(line.strip() for line in book if line.strip()))
        except UnicodeDecodeError:
            continue  # Latin-1
    return found


def ours(arguments, size):
    """MB/s of a core."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(arguments, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return size / 1e6 / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def tokenizer(data):
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

    with open(f"{data}/sentences/punkt/english.json", encoding="utf-8") as f:
        model = json.load(f)
    parameters = PunktParameters()
    parameters.abbrev_types = set(model["AbbrevTypes"])
    parameters.sent_starters = set(model["SentStarters"])
    parameters.collocations = {tuple(pair.split(",", 1)) for pair in model["Collocations"]}
    parameters.ortho_context.update(model["OrthoContext"])
    return PunktSentenceTokenizer(parameters)


def nltk_rate(punkt, texts, output):
    start = time.process_time()
    with open(output, "w", encoding="utf-8") as out:
        for text in texts:
            for sentence in punkt.tokenize(text):
                out.write(sentence + "\n")
            out.write("\n")
    return sum(len(t.encode()) for t in texts) / 1e6 / (time.process_time() - start)


def row(what, mine, peer="-", ratio="-"):
    print("segment", what, mine, peer, ratio, sep="\t", flush=True)


def main():
    binary, data = f"{sys.argv[1]}/segment", sys.argv[2]
    texts = documents(data)
    with tempfile.TemporaryDirectory() as work:
        lines, once, output = f"{work}/text.jsonl", f"{work}/once.txt", f"{work}/sentences.txt"
        with open(lines, "w", encoding="utf-8") as f:
            while f.tell() < WANT:
                for text in texts:
                    f.write(json.dumps({"id": "1", "title": "T", "text": text}, ensure_ascii=False) + "\n")
        with open(once, "w", encoding="utf-8") as f:
            f.writelines(text + "\n" for text in texts)
        size = os.path.getsize(lines)
        command = [binary, "-q", "-j", "1", "-o", output, lines]
        try:
            punkt = tokenizer(data)
        except ImportError:
            punkt = None
        first = ours(command, size)
        if punkt is None:
            row("MB/s of a core", f"{first:.1f}", f"skipped: {sys.executable} has no nltk")
        else:
            peer = nltk_rate(punkt, texts, f"{work}/peer.txt")
            mine = (first + ours(command, size)) / 2
            row("MB/s of a core", f"{mine:.1f}", f"{peer:.2f}", f"{mine / peer:.1f}")
            subprocess.run([binary, "-q", "--input-format", "line", "-o", f"{work}/same.txt", once], check=True)
            with open(f"{work}/peer.txt", "rb") as a, open(f"{work}/same.txt", "rb") as b:
                same = a.read() == b.read()
            version = sys.modules["nltk"].__version__
            row(f"sentences equal to those of NLTK {version}", "yes" if same else "no")
            if not same and version.startswith("3.8"):
                sys.exit("data-segment.py: error: the sentences differ from NLTK's")
        row("MB/s of a core, --rules improved", f"{ours([*command, '--rules', 'improved'], size):.1f}")


main()
