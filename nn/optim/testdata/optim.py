"""Writes optim.json: schedules by numpy and optimiser trajectories by torch.optim.AdamW, in float64.

Parameters and gradients are formulas of their name (see wave), which optim_test.go repeats. Run: python optim.py;
made with the versions recorded in the file.
"""

import json
import math
import os

import numpy as np
import torch

torch.set_default_dtype(torch.float64)


def wave(name, shape, step):
    start = sum(name.encode()) % 997
    n = math.prod(shape)
    return torch.tensor([math.sin(start + step * (i + 1)) for i in range(n)]).reshape(shape)


def cosine(start, base, final, freeze, warmup, total):
    parts = [np.zeros(freeze), np.linspace(start, base, warmup)]
    i = np.arange(total - freeze - warmup)
    parts.append(final + 0.5 * (base - final) * (1 + np.cos(np.pi * i / len(i))))
    return np.concatenate(parts)


def warmup_cosine(start, peak, end, warmup, cos, total):
    curve = (np.cos(np.linspace(0, np.pi, cos)) + 1) / 2 * (peak - end) + end
    return np.concatenate([np.linspace(start, peak, warmup, endpoint=False), curve, np.full(total - warmup - cos, end)])


shapes = {
    "mlp.0.weight": (4, 3), "mlp.0.bias": (4,), "mlp.2.weight": (2, 4), "mlp.2.bias": (2,),
    "last_layer.weight_g": (5, 1), "last_layer.weight_v": (5, 2),
}
lr, wd, momentum, steps, frozen_steps = 0.02, 0.3, 0.9, 6, 2


def trajectory(clip, last_layer):
    student = {n: wave(n, s, 0.7).requires_grad_() for n, s in shapes.items()}
    teacher = {n: p.detach().clone() for n, p in student.items()}
    groups = [
        {"params": [p], "lr": lr * 0.8**2, "weight_decay": 0.0 if n.endswith("bias") else wd, "name": n}
        for n, p in student.items()
    ]
    opt = torch.optim.AdamW(groups, betas=(0.9, 0.99), eps=1e-8)
    for step in range(steps):
        for n, p in student.items():
            p.grad = 2 * wave(f"{n}{step}", p.shape, 0.9)
        if clip == "parameter":
            for p in student.values():
                p.grad.mul_(min(1.0, 1.5 / (p.grad.norm().item() + 1e-6)))
        else:
            torch.nn.utils.clip_grad_norm_(list(student.values()), 1.5)
        for g in opt.param_groups:
            if "last_layer" in g["name"]:
                if last_layer == "held":
                    g["lr"] = 0.0 if step < frozen_steps else lr * 0.8**2
                elif step < frozen_steps:
                    g["params"][0].grad = None
        opt.step()
        with torch.no_grad():
            for n, p in student.items():
                teacher[n].mul_(momentum).add_((1 - momentum) * p)
    return {
        "clip": clip, "last_layer": last_layer,
        "student": {n: p.detach().flatten().tolist() for n, p in student.items()},
        "teacher": {n: p.flatten().tolist() for n, p in teacher.items()},
    }


out = {
    "torch": torch.__version__, "numpy": np.__version__,
    "cosine": cosine(0.1, 2.0, 0.3, 2, 4, 15).tolist(),
    "cosine_plain": cosine(0.0, 0.996, 1.0, 0, 0, 7).tolist(),
    "warmup_cosine": warmup_cosine(0.1, 2.0, 0.3, 4, 8, 15).tolist(),
    "warmup_cosine_all": warmup_cosine(0.0, 1.0, 0.01, 3, 9, 12).tolist(),
    "linear": np.concatenate([np.linspace(0.04, 0.07, 5), np.full(4, 0.07)]).tolist(),
    "trajectories": [trajectory("parameter", "skipped"), trajectory("module", "held")],
}
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "optim.json"), "w") as f:
    json.dump(out, f, indent=0)
