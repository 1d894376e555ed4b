#!/usr/bin/env python3
"""data-wordpiece.py BIN DATA: wordpiece --count against nanotoken and Hugging Face tokenizers, on one core, in turns; and mkvocab against
Hugging Face's trainer. The text is the English pages of DATA: as paragraphs and as sentences, repeated to 200 MB (10 MB for Hugging Face).
nanotoken and Hugging Face get their lines in memory, in batches; ours reads the file, checks its UTF-8 and counts words and unknown ones. The
ids of each distinct line are compared. Prints lines PART, what, ours, peer, ratio with tabs between; a peer that is not installed is skipped.
"""
import gzip, os, subprocess, sys, tempfile, time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
BIN, DATA = sys.argv[1:3]
VOCAB = os.path.join(DATA, "wordpiece/vocab/bert-base-uncased-vocab.txt")
SIZE = int(os.environ.get("BYTES", 200_000_000))
ROUNDS = 5


def row(what, ours, peer, ratio):
    print("wordpiece", what, ours, peer, ratio, sep="\t", flush=True)


def optional(name):
    try:
        return __import__(name)
    except ImportError:
        return None


def golden(name):
    return gzip.open(os.path.join(DATA, "wiki/golden", name), "rt", encoding="utf-8").read().split("\n")


def median(values):
    return sorted(values)[len(values) // 2]


def megabytes(lines):
    return sum(len(line.encode()) + 1 for line in lines) / 1e6


def rate(size, work):
    start = time.perf_counter()
    work()
    return size / (time.perf_counter() - start)


def ours(file):
    out = subprocess.run([os.path.join(BIN, "wordpiece"), "-q", "-j1", "--vocab", VOCAB, "--count", file], check=True, capture_output=True, text=True).stdout
    return float(out.split("MB/s\t")[1])


def ids(file):
    out = subprocess.run([os.path.join(BIN, "wordpiece"), "-q", "--vocab", VOCAB, file], check=True, capture_output=True, text=True).stdout
    return [[int(n) for n in line.split()] for line in out.split("\n")[:-1]]


def agree(mine, theirs):
    return f"{sum(a == b for a, b in zip(mine, theirs))} of {len(mine)} lines have equal ids"


def speed(name, lines, folder, nanotoken, tokenizers):
    file = os.path.join(folder, name)
    with open(file, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    mine = ids(file)
    many = lines * max(1, round(SIZE / 1e6 / megabytes(lines)))
    with open(file, "w", encoding="utf-8") as f:
        f.write("\n".join(many) + "\n")
    size = megabytes(many)
    if nanotoken:
        peer = nanotoken.Tokenizer.from_vocab(VOCAB, lowercase=True)
        got = peer.encode_batch(lines, add_special_tokens=False)
        print(f"{name}, nanotoken: {agree(mine, [list(map(int, got[i])) for i in range(len(lines))])}", flush=True)
        turns = [(ours(file), rate(size, lambda: peer.encode_batch(many, parallel=False))) for _ in range(ROUNDS)]
        us, them = (median(r) for r in zip(*turns))
        row(f"{name}, MB/s, nanotoken", f"{us:.1f}", f"{them:.1f}", f"{us / them:.2f}")
    else:
        row(f"{name}, MB/s, nanotoken", f"{median([ours(file) for _ in range(ROUNDS)]):.1f}", "skipped: not installed", "-")
    if tokenizers:
        peer = tokenizers.BertWordPieceTokenizer(VOCAB)
        few = lines * max(1, round(SIZE / 2e7 / megabytes(lines)))
        print(f"{name}, Hugging Face: {agree(mine, [e.ids for e in peer._tokenizer.encode_batch(lines, add_special_tokens=False)])}", flush=True)
        turns = [(ours(file), rate(megabytes(few), lambda: peer._tokenizer.encode_batch_fast(few, add_special_tokens=False))) for _ in range(3)]
        us, them = (median(r) for r in zip(*turns))
        row(f"{name}, MB/s, Hugging Face", f"{us:.1f}", f"{them:.2f}", f"{us / them:.0f}")
    else:
        row(f"{name}, MB/s, Hugging Face", "-", "skipped: not installed", "-")
    os.unlink(file)


def vocabulary(sentences, folder, tokenizers):
    """Trains both on nine documents of ten and counts the pieces of the tenth."""
    documents = [d for d in "\n".join(sentences).split("\n\n") if d.strip()]
    train, held = os.path.join(folder, "train"), [d for i, d in enumerate(documents) if i % 10 == 0]
    with open(train, "w", encoding="utf-8") as f:
        f.write("\n\n".join(d for i, d in enumerate(documents) if i % 10) + "\n")
    our_vocab, peer_vocab = os.path.join(folder, "ours.txt"), os.path.join(folder, "peer.txt")
    subprocess.run([os.path.join(BIN, "mkvocab"), "-q", "--size", "30000", "-o", our_vocab, train], check=True)
    if not tokenizers:
        row("mkvocab, pieces per unseen word", "-", "skipped: not installed", "-")
        return
    trainer = tokenizers.BertWordPieceTokenizer()
    trainer.train([train], vocab_size=30000, min_frequency=0, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    pieces = trainer.get_vocab()
    with open(peer_vocab, "w", encoding="utf-8") as f:
        f.write("\n".join(sorted(pieces, key=pieces.get)) + "\n")

    def per_word(vocab):
        encoded = tokenizers.BertWordPieceTokenizer(vocab)._tokenizer.encode_batch(held, add_special_tokens=False)
        return sum(len(e.ids) for e in encoded) / sum(len(set(e.word_ids)) for e in encoded)

    us, them = per_word(our_vocab), per_word(peer_vocab)
    row("mkvocab, pieces per unseen word", f"{us:.4f}", f"{them:.4f}", f"{us / them:.4f}")


def main():
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    nanotoken, tokenizers = optional("nanotoken"), optional("tokenizers")
    paragraphs = [line for line in golden("enwiki-shortened.wikiextractor.txt.gz") if line and not line.startswith(("<doc ", "</doc>"))]
    sentences = golden("enwiki-shortened.punkt_sentences.txt.gz")
    with tempfile.TemporaryDirectory() as folder:
        speed("paragraphs", paragraphs, folder, nanotoken, tokenizers)
        speed("sentences", [line for line in sentences if line], folder, nanotoken, tokenizers)
        vocabulary(sentences, folder, tokenizers)


main()
