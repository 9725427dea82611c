"""One DINOv2 step as a plain PyTorch loop on a GPU, in the protocol of package peer.

Usage: dinov2.py DEVICE eager|compiled split|packed MODEL MASKED. MODEL is width, blocks, heads, batch, global and local
crop size, patch, local crops, hidden width, bottleneck and prototypes, separated by commas; MASKED is the number of
masked patches of a step.

What a PyTorch user would write: autocast to bf16 over f32 weights, flash attention by scaled_dot_product_attention, fused
AdamW, teacher average by foreach, only masked patches through the heads. The student sees the crops in a pass for each
resolution (split), or all of them packed with variable-length attention (packed, newer versions). Batches lie in
page-locked host memory and are copied in every step.

"turn N" makes a step that is not counted and N that are, and answers "ok SECONDS LIVE TAKEN": the seconds of one step, the
bytes of tensors at the peak and those taken from the card. Between turns memory that holds nothing is given back.
"""
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.parametrizations import weight_norm

DEVICE, MODE, LAYOUT = sys.argv[1:4]
DIM, DEPTH, HEADS, BATCH, GLOBAL, LOCAL, PATCH, LOCALS, HIDDEN, BOTTLENECK, PROTOTYPES = (int(v) for v in sys.argv[4].split(","))
MASKED = int(sys.argv[5])
CUDA = DEVICE.startswith("cuda")
STUDENT_TEMP, TEACHER_TEMP = 0.1, 0.07
GRID = GLOBAL // PATCH


if CUDA and LAYOUT == "packed":
    from torch.nn.attention.varlen import varlen_attn

    def packed_attention(q, k, v, starts, longest, _):
        return varlen_attn(q, k, v, starts, starts, longest, longest)

else:

    def packed_attention(q, k, v, starts, longest, lengths):
        """The same sequence by sequence: a CPU has no variable-length kernel."""
        parts = zip(*(x.transpose(0, 1).split(lengths, dim=1) for x in (q, k, v)))
        return torch.cat([F.scaled_dot_product_attention(*p) for p in parts], dim=1).transpose(0, 1)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.proj = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)

    def forward(self, x, pack):
        if pack is None:
            b, n, _ = x.shape
            q, k, v = self.qkv(x).view(b, n, 3, HEADS, DIM // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
            return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, DIM))
        q, k, v = self.qkv(x).view(-1, 3, HEADS, DIM // HEADS).unbind(1)
        return self.proj(packed_attention(q, k, v, *pack).reshape(-1, DIM))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(DIM, eps=1e-6), nn.LayerNorm(DIM, eps=1e-6)
        self.attention = Attention()
        self.fc1, self.fc2 = nn.Linear(DIM, 4 * DIM), nn.Linear(4 * DIM, DIM)
        self.scale1, self.scale2 = nn.Parameter(torch.full((DIM,), 1e-5)), nn.Parameter(torch.full((DIM,), 1e-5))

    def forward(self, x, pack):
        x = x + self.scale1 * self.attention(self.norm1(x), pack)
        return x + self.scale2 * self.fc2(F.gelu(self.fc1(self.norm2(x))))


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, DIM, PATCH, PATCH)
        self.cls = nn.Parameter(torch.randn(1, 1, DIM) * 0.02)
        self.mask_token = nn.Parameter(torch.zeros(1, DIM))
        self.pos = nn.Parameter(torch.randn(1, GRID * GRID + 1, DIM) * 0.02)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm = nn.LayerNorm(DIM, eps=1e-6)

    def embed(self, images, masks=None):
        x = self.patch(images)
        h, w = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)
        if masks is not None:
            x = torch.where(masks.unsqueeze(-1), self.mask_token.to(x.dtype).unsqueeze(0), x)
        pos = self.pos
        if h * w != GRID * GRID:
            grid = pos[:, 1:].reshape(1, GRID, GRID, DIM).permute(0, 3, 1, 2)
            grid = F.interpolate(grid.float(), size=(h, w), mode="bicubic", antialias=False)
            pos = torch.cat((pos[:, :1], grid.permute(0, 2, 3, 1).reshape(1, h * w, DIM)), 1)
        return torch.cat((self.cls.expand(x.shape[0], -1, -1), x), 1) + pos

    def forward(self, groups, masks=None, pack=None):
        """CLS tokens of every group, and the patch tokens of the first, [crops, patches, DIM]."""
        xs = [self.embed(g, masks if i == 0 else None) for i, g in enumerate(groups)]
        if pack is None:
            done = []
            for x in xs:
                for block in self.blocks:
                    x = block(x, None)
                done.append(self.norm(x))
        else:
            x = torch.cat([x.reshape(-1, DIM) for x in xs])
            for block in self.blocks:
                x = block(x, pack)
            parts = self.norm(x).split([x.shape[0] * x.shape[1] for x in xs])
            done = [p.view(x.shape) for p, x in zip(parts, xs)]
        return [x[:, 0] for x in done], done[0][:, 1:]


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(DIM, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, BOTTLENECK))
        self.last = weight_norm(nn.Linear(BOTTLENECK, PROTOTYPES, bias=False))

    def forward(self, x):
        return self.last(F.normalize(self.mlp(x), dim=-1, eps=1e-6))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = ViT(), Head()

    def forward(self, groups, index, masks=None, pack=None):
        """Prototype logits of all CLS tokens and of the patches in index, and the CLS tokens of the first group."""
        cls, patches = self.backbone(groups, masks, pack)
        picked = patches.reshape(-1, DIM).index_select(0, index)
        n = sum(c.shape[0] for c in cls)
        out = self.head(torch.cat((*cls, picked)))
        return out[:n], out[n:], cls[0]


def koleo(x):
    """Kozachenko-Leonenko of each global view."""
    total = 0.0
    with torch.autocast(DEVICE.split(":")[0], enabled=False):
        for view in x.float().chunk(2):
            view = F.normalize(view, dim=-1, eps=1e-8)
            with torch.no_grad():
                dots = view @ view.t()
                dots.fill_diagonal_(-1)
                nearest = dots.argmax(1)
            total = total - torch.log(F.pairwise_distance(view, view[nearest], 2, 1e-8) + 1e-8).mean()
    return total


def objective(cls, patches, globals_cls, t_cls, t_patches, centre, patch_centre, weights):
    """DINO over all pairs of a teacher view and another student view, iBOT over masked patches, KoLeo."""
    with torch.no_grad():
        probs = F.softmax((t_cls.float() - centre) / TEACHER_TEMP, dim=-1).chunk(2)
        targets = F.softmax((t_patches.float() - patch_centre) / TEACHER_TEMP, dim=-1)
    logs = [F.log_softmax(s.float() / STUDENT_TEMP, dim=-1) for s in cls.chunk(2 + LOCALS)]
    terms = [-(q * p).sum(-1).mean() for i, q in enumerate(probs) for j, p in enumerate(logs) if i != j]
    dino = sum(terms) / len(terms)
    ibot = -((targets * F.log_softmax(patches.float() / STUDENT_TEMP, dim=-1)).sum(-1) * weights).sum()
    return dino + ibot + 0.1 * koleo(globals_cls)


def masks_of(crops):
    """Masks of half of the crops, MASKED patches in all, and the weight of each: the mean over a crop's patches, then over
    the crops."""
    masks = torch.zeros(crops, GRID * GRID, dtype=torch.bool)
    chosen = torch.randperm(crops)[: crops // 2]
    left = MASKED
    for i, crop in enumerate(chosen):
        n = left // (len(chosen) - i)
        masks[crop, torch.randperm(GRID * GRID)[:n]] = True
        left -= n
    counts = masks.sum(1).clamp(min=1)
    weights = (1.0 / counts / crops).unsqueeze(1).expand_as(masks)[masks]
    return masks, masks.flatten().nonzero().flatten(), weights


class Loop:
    def __init__(self):
        torch.manual_seed(1)
        self.student, self.teacher = Network().to(DEVICE), Network().to(DEVICE)
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        decayed = [p for p in self.student.parameters() if p.ndim > 1]
        rest = [p for p in self.student.parameters() if p.ndim <= 1]
        self.opt = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.04}, {"params": rest, "weight_decay": 0.0}], lr=1e-4, fused=True)
        self.centre = torch.zeros(1, PROTOTYPES, device=DEVICE)
        self.patch_centre = torch.zeros(1, PROTOTYPES, device=DEVICE)
        pin = (lambda x: x.pin_memory()) if CUDA else (lambda x: x)
        self.images = [pin(torch.randn(2 * BATCH, 3, GLOBAL, GLOBAL)), pin(torch.randn(LOCALS * BATCH, 3, LOCAL, LOCAL))]
        self.masks = [[pin(x) for x in masks_of(2 * BATCH)] for _ in range(4)]
        self.pack = None
        if LAYOUT == "packed":
            lengths = [GRID * GRID + 1] * (2 * BATCH) + [(LOCAL // PATCH) ** 2 + 1] * (LOCALS * BATCH)
            starts = torch.tensor([0] + lengths).cumsum(0).to(torch.int32).to(DEVICE)
            self.pack = (starts, GRID * GRID + 1, lengths)
        self.run_student, self.run_teacher, self.run_loss = self.student, self.teacher, objective
        if MODE == "compiled":
            # A run on the CPU is a dry one: it traces everything and does not wait for a C++ compiler.
            backend = "inductor" if CUDA else "aot_eager"
            self.run_student, self.run_teacher, self.run_loss = (torch.compile(f, backend=backend) for f in (self.student, self.teacher, objective))
        self.done = 0

    def step(self):
        images = [x.to(DEVICE, non_blocking=True) for x in self.images]
        masks, index, weights = (x.to(DEVICE, non_blocking=True) for x in self.masks[self.done % len(self.masks)])
        with torch.autocast(DEVICE.split(":")[0], dtype=torch.bfloat16):
            with torch.no_grad():
                t_cls, t_patches, _ = self.run_teacher(images[:1], index)
            cls, patches, globals_cls = self.run_student(images, index, masks, self.pack)
            loss = self.run_loss(cls, patches, globals_cls, t_cls, t_patches, self.centre, self.patch_centre, weights)
        self.opt.zero_grad(set_to_none=True)
        loss.backward()
        for part in (self.student.backbone, self.student.head):
            torch.nn.utils.clip_grad_norm_(part.parameters(), 3.0, foreach=True)
        self.opt.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.teacher.parameters()), list(self.student.parameters()), 1 - 0.992)
            self.centre.lerp_(t_cls.float().mean(0, keepdim=True), 0.1)
            self.patch_centre.lerp_(t_patches.float().mean(0, keepdim=True), 0.1)
        self.done += 1
        if self.done % 10 == 0:  # as a loop that logs
            value = loss.item()
            if value != value:
                raise RuntimeError("the loss is not a number")
        return loss


def turn(loop, n):
    sync = torch.cuda.synchronize if CUDA else lambda: None
    loop.step()
    sync()
    start = time.perf_counter()
    for _ in range(n):
        loss = loop.step()
    sync()
    seconds = (time.perf_counter() - start) / n
    if not torch.isfinite(loss):
        raise RuntimeError("the loss is not finite")
    live = taken = 0
    if CUDA:
        live, taken = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return f"ok {seconds} {live} {taken}"


def main():
    print(f"PyTorch {torch.__version__} {MODE}, {LAYOUT}", flush=True)
    loop = None
    for line in sys.stdin:
        word, n = line.split()
        try:
            if word != "turn":
                raise ValueError(f"what is {word}")
            loop = loop or Loop()
            answer = turn(loop, int(n))
        except Exception as e:
            answer = f"error: {type(e).__name__}: {' '.join(str(e).split())[:300]}"
            if CUDA:
                torch.cuda.empty_cache()
        print(answer, flush=True)


main()
