"""Writes the files of torch.save in this folder and, as PyTorch sees them, their tensors (expected.json). Needs torch and numpy:
python torch_files.py"""
import collections, hashlib, json, os
import numpy
import torch

here = os.path.dirname(os.path.abspath(__file__))


class Loader:
    """What NVIDIA's trainer saves of its program: classes that no reader has."""

    def __init__(self):
        self.data = numpy.arange(50)
        self.collate = print
        self.names = {"a", "b"}
        self.nested = [self.__class__, (1, 2.5, None, -70000, 1 << 70), "x" * 70000]


def values(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def kinds():
    base = values(1, 6, 4)
    d = collections.OrderedDict()
    d["float32"] = base
    d["same storage"] = base
    d["transposed"] = base.t()
    d["column"] = base[:, 2]
    d["part"] = base[1:5:2, 1:3]
    d["fortran"] = values(2, 2, 3, 4).permute(2, 1, 0)
    d["expanded"] = values(3, 3).expand(2, 3)
    d["scalar"] = torch.tensor(2.5)
    d["empty"] = torch.empty(0, 7)
    d["half"] = torch.tensor([1, -2, 2 ** -24, float("inf"), 65504, -0.0]).half()
    d["half transposed"] = values(4, 3, 2).half().t()
    d["bfloat16"] = values(5, 5).bfloat16()
    d["double"] = values(6, 2, 2).double() / 3
    d["int64"] = torch.arange(-3, 3)
    d["int32"], d["int16"] = torch.arange(4).int(), torch.arange(4).short()
    d["int8"], d["uint8"] = torch.arange(-2, 2).char(), torch.arange(4).byte()
    d["bool"] = torch.tensor([True, False, True])
    d["parameter"] = torch.nn.Parameter(values(7, 2, 3))
    return d


def bert(rows, half):
    """The state of NVIDIA's model: hidden 4, two heads, one layer of 8, 5 positions; parameters in its order."""
    shapes = [("bert.embeddings.word_embeddings.weight", (rows, 4)), ("bert.embeddings.position_embeddings.weight", (5, 4)),
              ("bert.embeddings.token_type_embeddings.weight", (2, 4)), ("bert.embeddings.LayerNorm.weight", (4,)), ("bert.embeddings.LayerNorm.bias", (4,))]
    layer = "bert.encoder.layer.0."
    for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
        shapes += [(layer + name + ".weight", (4, 4)), (layer + name + ".bias", (4,))]
    shapes += [(layer + "attention.output.LayerNorm.weight", (4,)), (layer + "attention.output.LayerNorm.bias", (4,))]
    shapes += [(layer + "intermediate.dense_act.weight", (8, 4)), (layer + "intermediate.dense_act.bias", (8,))]
    shapes += [(layer + "output.dense.weight", (4, 8)), (layer + "output.dense.bias", (4,))]
    shapes += [(layer + "output.LayerNorm.weight", (4,)), (layer + "output.LayerNorm.bias", (4,))]
    shapes += [("bert.pooler.dense_act.weight", (4, 4)), ("bert.pooler.dense_act.bias", (4,)), ("cls.predictions.bias", (rows,))]
    shapes += [("cls.predictions.transform.dense_act.weight", (4, 4)), ("cls.predictions.transform.dense_act.bias", (4,))]
    shapes += [("cls.predictions.transform.LayerNorm.weight", (4,)), ("cls.predictions.transform.LayerNorm.bias", (4,))]
    shapes += [("cls.seq_relationship.weight", (2, 4)), ("cls.seq_relationship.bias", (2,))]
    params = collections.OrderedDict((name, values(100 + i, *shape)) for i, (name, shape) in enumerate(shapes))
    model = collections.OrderedDict()
    for name, p in params.items():
        model[name] = p.half().float() if half else p
        if name == "cls.predictions.transform.LayerNorm.bias":
            model["cls.predictions.decoder.weight"] = model["bert.embeddings.word_embeddings.weight"]
    return params, model


def nvidia(optimizer_class, half, loader):
    params, model = bert(16, half)
    flat = ("bias", "gamma", "beta", "LayerNorm")
    order = [n for n in params if not any(f in n for f in flat)] + [n for n in params if any(f in n for f in flat)]
    leaves = {n: params[n].clone().requires_grad_() for n in order}
    decayed = sum(not any(f in n for f in flat) for n in order)
    groups = [{"params": [leaves[n] for n in order[:decayed]], "weight_decay": 0.01}, {"params": [leaves[n] for n in order[decayed:]], "weight_decay": 0.0}]
    optimizer = optimizer_class(groups, lr=4e-3)
    for i, n in enumerate(order):
        leaves[n].grad = values(200 + i, *leaves[n].shape)
    optimizer.step()
    masters = [leaves[n].detach() for n in order]
    state = optimizer.state_dict()
    for s in state["state"].values():
        s.pop("step", None)  # as apex's FusedLAMB, which counts in the groups
    for g in state["param_groups"]:
        g["step"] = 7038
    moments = {}
    for i, n in enumerate(order):
        for key in ("exp_avg", "exp_avg_sq"):
            moments[key + "." + n] = state["state"][i][key]
    saved = {"model": model, "optimizer": state, "master params": masters, "files": [3, "a.hdf5"], "epoch": 5, "data_loader": loader}
    return saved, {**model, **moments, **{"master " + n: m for n, m in zip(order, masters)}}


def describe(tensors):
    """Type, shape and, for floating types, the hash of the values as float32 in C order."""
    told = {}
    for name, t in tensors.items():
        t = t.detach().contiguous()
        hashed = hashlib.sha256(t.float().numpy().astype("<f4").tobytes()).hexdigest() if t.is_floating_point() else "-"
        told[name] = f"{str(t.dtype).removeprefix('torch.')} {'x'.join(map(str, t.shape))} {hashed[:32]}"
    return told


def main():
    expected = {}

    def save(name, saved, tensors, **options):
        torch.save(saved, os.path.join(here, name), **options)
        expected[name] = describe(tensors)

    old = {"_use_new_zipfile_serialization": False}
    save("kinds.pt", kinds(), kinds())
    save("kinds_legacy.pt", kinds(), kinds(), **old)
    save("kinds_protocol4.pt", kinds(), kinds(), pickle_protocol=4)
    save("nvidia.pt", *nvidia(torch.optim.AdamW, True, Loader()))
    save("nvidia_legacy.pt", *nvidia(torch.optim.AdamW, False, None), **old)
    _, model = bert(16, False)
    renamed = {"module." + n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t for n, t in model.items()}
    save("module.pt", {"model": renamed}, model)
    save("nested.pt", {"deep": [{"x": values(9, 2)}, 7], 3: (None, {}), "flat": {"y": values(8, 3)}}, {"deep.0.x": values(9, 2), "flat.y": values(8, 3)})
    torch.save(torch.nn.Linear(2, 2), os.path.join(here, "whole_module.pt"))
    with open(os.path.join(here, "expected.json"), "w") as f:
        json.dump(expected, f, indent=1)
        f.write("\n")


main()
