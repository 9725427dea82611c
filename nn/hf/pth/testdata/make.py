"""Writes the PyTorch checkpoints that the tests of package pth read, and what they hold as plain JSON.

Run: python make.py   (made with torch 2.15.0; any 2.x gives the same tensors)
"""
import argparse, collections, json, pathlib
import numpy, torch

here = pathlib.Path(__file__).parent
g = torch.Generator().manual_seed(7)
r = lambda *s: torch.randn(*s, generator=g)
base = r(4, 6)
tensors = {
    "plain": r(2, 3), "transposed": base.t(), "columns": base[:, 1:4], "row": base[2], "stepped": base[::2, ::3],
    "half": r(3).half(), "bfloat": r(3).bfloat16(), "double": r(2).double(), "long": torch.tensor([1, -2, 1 << 40]),
    "int": torch.tensor([3, -4], dtype=torch.int32), "bool": torch.tensor([True, False, True]),
    "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3), "byte": torch.tensor([1, 255], dtype=torch.uint8),
    "permuted": r(2, 3, 4).permute(2, 0, 1),
}
torch.save({
    "teacher": collections.OrderedDict(("module.backbone." + k, v) for k, v in tensors.items()),
    "student": {"param": torch.nn.Parameter(base[:2].clone())},
    "epoch": 12, "big": 1 << 80, "lr": 1e-3, "name": "dino", "none": None,
    "args": argparse.Namespace(arch="vit_small", patch_size=16),
    "np": numpy.float64(1.5),
    "optimizer": torch.optim.AdamW([torch.nn.Parameter(r(2))], lr=1e-3).state_dict(),
}, here / "nested.pth")
want = {}
for k, v in tensors.items():
    want["teacher.module.backbone." + k] = {"shape": list(v.shape), "values": v.double().flatten().tolist()}
want["student.param"] = {"shape": [2, 6], "values": base[:2].double().flatten().tolist()}
(here / "nested.json").write_text(json.dumps(want))

torch.save({"w": base, "t": base.t()}, here / "protocol4.pth", pickle_protocol=4)
torch.save({"w": base}, here / "legacy.pth", _use_new_zipfile_serialization=False)


class Evil:
    def __reduce__(self):
        import os
        return os.system, ("echo executed > /tmp/dmx-pickle-was-executed",)


torch.save({"w": base, "x": Evil()}, here / "evil.pth")
