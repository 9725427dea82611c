"""One DINO step as a plain PyTorch loop: the multi-crop wrapper of the published code (one pass of the backbone for
each resolution, one of the head), scaled_dot_product_attention, fused AdamW, teacher average by foreach, f32.

Usage: torch.py MODE THREADS BATCH, MODE eager or compiled. The protocol is described in package peer: "step" is
answered with nanoseconds.
"""
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.parametrizations import weight_norm

DIM, DEPTH, HEADS, PATCH, PROTOTYPES = 384, 12, 6, 16, 65536


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(DIM, eps=1e-6), nn.LayerNorm(DIM, eps=1e-6)
        self.qkv, self.proj = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.fc1, self.fc2 = nn.Linear(DIM, 4 * DIM), nn.Linear(4 * DIM, DIM)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, n, 3, HEADS, d // HEADS).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, DIM, PATCH, PATCH)
        self.cls = nn.Parameter(torch.randn(1, 1, DIM) * 0.02)
        self.pos = nn.Parameter(torch.randn(1, 197, DIM) * 0.02)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm = nn.LayerNorm(DIM, eps=1e-6)

    def positions(self, h, w):
        if h * w == self.pos.shape[1] - 1:
            return self.pos
        grid = self.pos[:, 1:].reshape(1, 14, 14, DIM).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(h, w), mode="bicubic", align_corners=False)
        return torch.cat((self.pos[:, :1], grid.permute(0, 2, 3, 1).reshape(1, h * w, DIM)), 1)

    def forward(self, x):
        x = self.patch(x)
        h, w = x.shape[-2:]
        x = torch.cat((self.cls.expand(x.shape[0], -1, -1), x.flatten(2).transpose(1, 2)), 1) + self.positions(h, w)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(DIM, 2048), nn.GELU(), nn.Linear(2048, 2048), nn.GELU(), nn.Linear(2048, 256))
        self.last = weight_norm(nn.Linear(256, PROTOTYPES, bias=False))

    def forward(self, x):
        return self.last(F.normalize(self.mlp(x), dim=-1))


class MultiCrop(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = ViT(), Head()

    def forward(self, groups):
        return self.head(torch.cat([self.backbone(g) for g in groups]))


def main():
    mode, threads, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    student, teacher = MultiCrop(), MultiCrop()
    teacher.load_state_dict(student.state_dict())
    teacher.requires_grad_(False)
    decayed = [p for p in student.parameters() if p.ndim > 1]
    rest = [p for p in student.parameters() if p.ndim <= 1]
    opt = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.04}, {"params": rest, "weight_decay": 0.0}], lr=5e-4, fused=True)
    centre = torch.zeros(1, PROTOTYPES)
    globals_, locals_ = torch.randn(2 * batch, 3, 224, 224), torch.randn(8 * batch, 3, 96, 96)

    def loss_of(logits, target, centre):
        probs = F.softmax((target - centre) / 0.04, dim=-1).chunk(2)
        logs = [F.log_softmax(s / 0.1, dim=-1) for s in logits.chunk(10)]
        terms = [torch.sum(-q * p, dim=-1).mean() for i, q in enumerate(probs) for j, p in enumerate(logs) if i != j]
        return sum(terms) / len(terms)

    run_student, run_teacher, run_loss = student, teacher, loss_of
    if mode == "compiled":
        run_student, run_teacher, run_loss = torch.compile(student), torch.compile(teacher), torch.compile(loss_of)

    def step():
        nonlocal centre
        with torch.no_grad():
            target = run_teacher([globals_])
        loss = run_loss(run_student([globals_, locals_]), target, centre)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        for part in (student.backbone, student.head):
            torch.nn.utils.clip_grad_norm_(part.parameters(), 3.0, foreach=True)
        opt.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 1 - 0.996)
            centre = centre * 0.9 + target.mean(0, keepdim=True) * 0.1
        return loss.item()

    for _ in range(2):
        step()
    print(f"PyTorch {torch.__version__} {mode}", flush=True)
    for line in sys.stdin:
        if line.strip() != "step":
            sys.exit(f"what is {line}")
        start = time.perf_counter_ns()
        step()
        print(time.perf_counter_ns() - start, flush=True)


main()
