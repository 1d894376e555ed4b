# Writes expected.json.gz: what the original program makes of questions that are hard to get right.
#
#   python3 expected.py FOLDER | gzip -9n >expected.json.gz
#
# FOLDER is PyTorch/LanguageModeling/BERT of NVIDIA's DeepLearningExamples. What its run_squad.py imports and these functions do not need is replaced.
import argparse
import json
import random
import sys
import tempfile
from unittest import mock

sys.path.insert(0, sys.argv[1])
for name in ["torch", "torch.utils", "torch.utils.data", "torch.utils.data.distributed", "tqdm", "apex", "apex.multi_tensor_apply", "schedulers", "modeling", "optimization",
             "utils", "dllogger", "numpy", "boto3", "botocore", "botocore.exceptions", "requests", "file_utils"]:
    sys.modules[name] = mock.MagicMock()
import run_squad
from tokenization import BertTokenizer

random.seed(7)
LONG = "the king was born in the city of " + " ".join(random.choices("church tower river won lost war built year queen café (1895-1943). physicist's unbuilding Steve".split(), k=70))
CONTEXTS = [
    ("The\u202fking\tSteve\nSmith's café, (1895-1943).  “Born” in\u00a0Zürich – 中国 ΑΣ ΟΔΟΣ's end", ["king", "Steve Smith", "1895", "1943", "café", "Smith's café", "Born", "Zürich", "中国", "ΟΔΟΣ", "end", "in\u00a0Zürich"]),
    ("  leading 😀😀 blanks 😀x the tower", ["leading", "blanks", "x", "tower", "the tower"]),
    ("zero \u200b\u0301 pieces \u00ad of \ufeff words İstanbul x\u0301y a\u0000b", ["zero", "pieces", "words", "İstanbul", "of"]),
    (LONG, ["city", "king was born", "(1895-1943).", "physicist", "Steve", LONG.split()[40], " ".join(LONG.split()[30:36]), " ".join(LONG.split()[-3:])]),
    ("", []),
    ("[UNK] [MASK] [SEP] in brackets qqqQ " + "y" * 120 + " tower", ["[MASK]", "brackets", "tower", "y" * 120]),
    ("one word", ["one word", "word", "ne wor"]),
]
QUESTIONS = ["who was born?", "What is the name of the King's river tower, and where?", "Σ?", ""]


def data(training):
    paragraphs, count = [], 0
    for context, texts in CONTEXTS:
        qas = []
        for text in texts or ["x"]:
            count += 1
            at = context.find(text)
            qa = {"id": f"q{count}", "question": random.choice(QUESTIONS), "answers": [{"text": text, "answer_start": max(at, 0)}], "is_impossible": count % 7 == 3}
            qas.append(qa)
            if training and at >= 0 and count % 5 == 0:  # the answer is not where it should be
                qas.append(dict(qa, id=f"q{count}m", answers=[{"text": text, "answer_start": (at + 7) % max(1, len(context) - len(text))}], is_impossible=False))
        if context or not training:
            paragraphs.append({"context": context, "qas": qas})
    return {"version": "v2.0", "data": [{"title": "hard", "paragraphs": paragraphs}]}


def scores(features, size):
    coarse = lambda: [random.randint(-6, 6) / 2 for _ in range(size)]
    return [{"start_logits": coarse(), "end_logits": coarse()} for _ in features]


def run(args):
    tokenizer = BertTokenizer(args.vocab, do_lower_case=args.do_lower_case, max_len=512)
    out = {"args": {k: v for k, v in vars(args).items() if k not in ("vocab", "verbose_logging")}}
    for mode in ["train", "eval"]:
        content = data(mode == "train")
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".json") as f:
            json.dump(content, f)
            f.flush()
            examples = run_squad.read_squad_examples(f.name, mode == "train", args.version_2_with_negative)
        features = run_squad.convert_examples_to_features(examples, tokenizer, args.max_seq_length, args.doc_stride, args.max_query_length, mode == "train")
        out[mode] = {"data": content, "features": [{
            "mode": mode, "example_index": f.example_index, "qas_id": examples[f.example_index].qas_id, "doc_span_index": f.doc_span_index, "input_ids": f.input_ids[:sum(f.input_mask)],
            "segment_ids": f.segment_ids[:sum(f.input_mask)], "start_position": f.start_position, "end_position": f.end_position, "is_impossible": bool(f.is_impossible),
            "orig_start": examples[f.example_index].start_position, "orig_end": examples[f.example_index].end_position,
            "token_to_orig_map": f.token_to_orig_map, "token_is_max_context": f.token_is_max_context} for f in features]}
    out["scores"] = scores(features, args.max_seq_length)
    results = [run_squad.RawResult(f.unique_id, s["start_logits"], s["end_logits"]) for f, s in zip(features, out["scores"])]
    answers, nbest = run_squad.get_answers(examples, features, results, args)
    out["answers"], out["nbest"] = json.dumps(answers, indent=4) + "\n", json.dumps(nbest, indent=4) + "\n"
    return out


arg = dict(vocab=__file__.replace("expected.py", "vocab.txt"), do_lower_case=True, max_seq_length=40, doc_stride=10, max_query_length=8, n_best_size=20, max_answer_length=30, version_2_with_negative=False,
           null_score_diff_threshold=0.0, verbose_logging=False)
changes = [{}, {"do_lower_case": False, "max_seq_length": 64, "doc_stride": 64}, {"version_2_with_negative": True, "null_score_diff_threshold": -1.5, "n_best_size": 40}, {"n_best_size": 1, "max_answer_length": 2}]
json.dump([run(argparse.Namespace(**dict(arg, **c))) for c in changes], sys.stdout, ensure_ascii=True, separators=(",", ":"))
