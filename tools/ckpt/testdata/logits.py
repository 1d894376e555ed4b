"""Usage: logits.py make DIR | compare DIR FOLDER...

make writes a small random BERT as Hugging Face's pytorch_model.bin and safetensors, as NVIDIA's trainer saves it (both forms of torch.save),
and a question answering model. compare prints, as JSON, by how much the logits of each converted folder differ from the model's."""
import json, os, sys
import torch
from transformers import AutoConfig, AutoTokenizer, BertForPreTraining, BertForQuestionAnswering

ids = torch.tensor([[2, 5, 6, 7, 3, 8, 9, 3], [2, 9, 8, 7, 6, 5, 3, 3]])
types = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1]] * 2)


def logits(model):
    model.eval()
    with torch.no_grad():
        out = model(input_ids=ids, token_type_ids=types)
    names = ("prediction_logits", "seq_relationship_logits", "start_logits", "end_logits")
    return torch.cat([getattr(out, n).flatten() for n in names if hasattr(out, n)])


def make(folder):
    shape = {"model_type": "bert", "vocab_size": 11, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
             "max_position_embeddings": 16}
    for sub in (".", "bin", "question"):
        os.makedirs(os.path.join(folder, sub), exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(shape, f)
    with open(os.path.join(folder, "vocab.txt"), "w") as f:
        f.write("\n".join("[PAD] [UNK] [CLS] [SEP] [MASK] a b c d e f".split()) + "\n")
    config = AutoConfig.from_pretrained(folder)
    torch.manual_seed(1)
    model = BertForPreTraining(config)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.2)
    torch.save(logits(model), os.path.join(folder, "logits.pt"))
    torch.save(model.state_dict(), os.path.join(folder, "bin", "pytorch_model.bin"))
    model.save_pretrained(os.path.join(folder, "safetensors"))
    state = {}
    for name, t in model.state_dict().items():
        for part in ("intermediate", "pooler", "transform"):
            name = name.replace(part + ".dense.", part + ".dense_act.")
        if name in ("bert.embeddings.word_embeddings.weight", "cls.predictions.bias", "cls.predictions.decoder.weight"):
            t = torch.cat([t, torch.full((5,) + t.shape[1:], 7.0)])
        if name != "cls.predictions.decoder.bias":
            state[name] = t
    torch.save({"model": state, "epoch": 1}, os.path.join(folder, "nvidia.pt"))
    torch.save({"model": state, "epoch": 1}, os.path.join(folder, "nvidia_legacy.pt"), _use_new_zipfile_serialization=False)
    question = BertForQuestionAnswering(config)
    torch.save(logits(question), os.path.join(folder, "question.pt"))
    torch.save(question.state_dict(), os.path.join(folder, "question", "pytorch_model.bin"))


def compare(folder, converted):
    told = {}
    for path in converted:
        named = json.load(open(os.path.join(path, "config.json")))["architectures"]
        kind = {"BertForPreTraining": BertForPreTraining, "BertForQuestionAnswering": BertForQuestionAnswering}[named[0]]
        model, info = kind.from_pretrained(path, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"], info
        assert AutoTokenizer.from_pretrained(path)("a b f")["input_ids"] == [2, 5, 6, 10, 3]
        want = torch.load(os.path.join(folder, "question.pt" if named[0].endswith("Answering") else "logits.pt"))
        told[os.path.basename(path)] = (logits(model) - want).abs().max().item()
    print(json.dumps(told))


if sys.argv[1] == "make":
    make(sys.argv[2])
else:
    compare(sys.argv[2], sys.argv[3:])
