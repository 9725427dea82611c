"""Writes losses.json: losses, gradients and ten-step trajectories as PyTorch computes them from the formulas of the
DINO, iBOT, DINOv2 and DINOv3 papers, in float64.

Weights and inputs are not stored: they are formulas of name and index (wave), which ssl/fixture_test.go repeats.
Masks are drawn here by a second implementation of the generator and of Philox. Run: python losses.py; made with
the versions recorded in the file.
"""

import json
import math
import os

import torch
import torch.nn.functional as F
import transformers
from transformers import Dinov2Config, Dinov2Model

torch.set_default_dtype(torch.float64)


def wave(name, *shape):
    start = sum(name.encode()) % 997
    n = math.prod(shape)
    return torch.tensor([math.sin(start + 0.7 * (i + 1)) for i in range(n)], dtype=torch.float64).reshape(shape)


# --- random numbers and masks ---------------------------------------------------------------------------------


def philox(key, ctr):
    key, ctr = list(key), list(ctr)
    for i in range(10):
        p0, p1 = 0xD2511F53 * ctr[0], 0xCD9E8D57 * ctr[2]
        ctr = [(p1 >> 32) ^ ctr[1] ^ key[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ ctr[3] ^ key[1], p0 & 0xFFFFFFFF]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return ctr


class Stream:
    def __init__(self, seed, a, b, c):
        self.key, self.ctr, self.words = (seed & 0xFFFFFFFF, seed >> 32), [0, a, b, c], []

    def u32(self):
        if not self.words:
            self.words = philox(self.key, self.ctr)
            self.ctr[0] += 1
        return self.words.pop(0)

    def u64(self):
        low = self.u32()
        return low | self.u32() << 32

    def real(self):
        return (self.u64() >> 11) / (1 << 53)

    def uniform(self, low, high):
        return low + (high - low) * self.real()

    def below(self, n):
        limit = (1 << 64) - 1 - ((1 << 64) - 1) % n
        while True:
            v = self.u64()
            if v < limit:
                return v % n

    def perm(self, n):
        p = [0] * n
        for i in range(n):
            j = self.below(i + 1)
            p[i] = p[j]
            p[j] = i
        return p


def block(mask, side, budget, r):
    for _ in range(10):
        area = r.uniform(4, budget)
        aspect = math.exp(r.uniform(math.log(0.3), math.log(1 / 0.3)))
        h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if w >= side or h >= side:
            continue
        top = r.below(side - h + 1)
        left = r.below(side - w + 1)
        inside = [(y, x) for y in range(top, top + h) for x in range(left, left + w)]
        fresh = [c for c in inside if not mask[c[0]][c[1]]]
        if 0 < len(fresh) <= budget:
            for y, x in fresh:
                mask[y][x] = True
            return len(fresh)
    return 0


def masks(crops, side, seed, step, share, low, high, exact):
    """One list of bools a crop, row by row."""
    out = [[False] * (side * side) for _ in range(crops)]
    n = int(crops * share)
    order = Stream(seed, step, 0, 0x01000200).perm(crops)
    edges = [low + (high - low) / n * i for i in range(n)] + [high]
    for i, crop in enumerate(order[:n]):
        r = Stream(seed, step, crop, 0x01000201)
        ratio = edges[i + 1] if exact else r.uniform(edges[i], edges[i + 1])
        target, count = int(side * side * ratio), 0
        grid = [[False] * side for _ in range(side)]
        while count < target:
            added = block(grid, side, min(target - count, side // 2 * side), r)
            if added == 0:
                break
            count += added
        flat = [c for row in grid for c in row]
        while exact and count < target:
            k = r.below(len(flat) - count)
            free = [j for j, m in enumerate(flat) if not m]
            flat[free[k]] = True
            count += 1
        out[crop] = flat
    return out


# --- losses ---------------------------------------------------------------------------------------------------


def cross(student, teacher, ts):
    """Cross-entropy of rows of logits with rows of probabilities."""
    return -(teacher * F.log_softmax(student / ts, -1)).sum(-1)


def centred(z, centre, tt):
    return F.softmax((z - centre) / tt, -1)


def sinkhorn(z, tt):
    q = torch.exp(z / tt).T
    k, b = q.shape
    q = q / q.sum()
    for _ in range(3):
        q = q / q.sum(1, keepdim=True) / k
        q = q / q.sum(0, keepdim=True) / b
    return (q * b).T


def dino(student, teacher, b, locals_):
    """Mean over the pairs of teacher view and other student view of the batch mean; lists are by view."""
    pairs = 2 + 2 * locals_
    g = (student[0][1](teacher[1]) + student[1][1](teacher[0])) / pairs
    l = sum((student[2 + v][1](teacher[i]) for v in range(locals_) for i in range(2)), torch.zeros(())) / pairs
    return g, l


def koleo(x, weight):
    x = F.normalize(x, eps=1e-8, dim=-1)
    dots = x @ x.T
    dots.fill_diagonal_(-2)
    near = dots.argmax(1)
    return -weight * torch.log(F.pairwise_distance(x, x[near], 2, eps=1e-8) + 1e-8).mean()


def gram(student, teacher, weight, remove_negative):
    x, y = F.normalize(student, dim=-1), F.normalize(teacher, dim=-1)
    sx, sy = x @ x.transpose(-1, -2), y @ y.transpose(-1, -2)
    if remove_negative:
        sx, sy = sx.clamp(min=0), sy.clamp(min=0)
    return weight * ((sx - sy) ** 2).mean()


def digest(x):
    """Norm, and projection on a wave: two numbers that change with any element."""
    x = x.detach().reshape(-1)
    return [x.norm().item(), (x * wave("digest", x.numel())).sum().item()]


def prototype_cases():
    """The loss between CLS tokens and the one between patches on given features."""
    b, width, k = 3, 4, 7
    out = []
    for method in ("centering", "sinkhorn_knopp"):
        for locals_ in (0, 3):
            views = 2 + locals_
            xs = F.normalize(wave("student", b, views, width), dim=-1).requires_grad_()
            w = wave("prototypes", k, width).requires_grad_()
            xt, wt = F.normalize(wave("teacher", b, 2, width), dim=-1), wave("teacher prototypes", k, width)
            centre = 0.3 * wave("centre", k)
            s, z = xs @ w.T, xt @ wt.T
            if method == "centering":
                p = centred(z, centre, 0.07)
                centre = 0.9 * centre + 0.1 * z.mean((0, 1))
            else:
                p = sinkhorn(z.reshape(2 * b, k), 0.07).reshape(b, 2, k)
            student = [(None, lambda t, v=v: cross(s[:, v], t, 0.1).mean()) for v in range(views)]
            g, l = dino(student, [p[:, 0], p[:, 1]], b, locals_)
            (0.8 * (g + l)).backward()
            out.append({"kind": "dino", "method": method, "locals": locals_, "global": 0.8 * g.item(), "local": 0.8 * l.item(),
                        "dstudent": digest(xs.grad), "dprototypes": digest(w.grad), "centre": digest(centre)})
        counts = [0, 2, 1, 4]  # masked patches of four crops
        m = sum(counts)
        xs = F.normalize(wave("student", m, width), dim=-1).requires_grad_()
        w = wave("prototypes", k, width).requires_grad_()
        xt, wt = F.normalize(wave("teacher", m, width), dim=-1), wave("teacher prototypes", k, width)
        centre = 0.3 * wave("centre", k)
        z = xt @ wt.T
        if method == "centering":
            p = centred(z, centre, 0.05)
            centre = 0.9 * centre + 0.1 * z.mean(0)
        else:
            p = sinkhorn(z, 0.05)
        weights = torch.tensor([1 / c for c in counts for _ in range(c)])
        loss = 0.6 * (cross(xs @ w.T, p, 0.1) * weights).sum() / len(counts)
        loss.backward()
        out.append({"kind": "ibot", "method": method, "counts": counts, "global": loss.item(),
                    "dstudent": digest(xs.grad), "dprototypes": digest(w.grad), "centre": digest(centre)})
    return out


def pair_cases():
    x = wave("koleo", 5, 6).requires_grad_()
    loss = koleo(x, 0.1)
    loss.backward()
    out = [{"kind": "koleo", "global": loss.item(), "dstudent": digest(x.grad)}]
    for negative in (False, True):
        x = wave("gram student", 2, 6, 5).requires_grad_()
        loss = gram(x, wave("gram teacher", 2, 6, 5), 0.5, negative)
        loss.backward()
        out.append({"kind": "gram", "remove_negative": negative, "global": loss.item(), "dstudent": digest(x.grad)})
    return out


# --- trajectories ---------------------------------------------------------------------------------------------

DIM, DEPTH, HEADS, PATCH, SIDE = 8, 2, 2, 2, 4
BATCH, LOCALS, SEED, STEPS = 4, 2, 3, 10


def cosine(base, final, total, i, warmup=0, start=0.0):
    if i < warmup:
        return start + (base - start) * i / (warmup - 1)
    return final + 0.5 * (base - final) * (1 + math.cos(math.pi * (i - warmup) / (total - warmup)))


class Head(torch.nn.Module):
    def __init__(self, hidden, bottleneck, k, weight_norm, train_gain):
        super().__init__()
        self.mlp = torch.nn.Sequential(torch.nn.Linear(DIM, hidden), torch.nn.GELU(), torch.nn.Linear(hidden, hidden), torch.nn.GELU(),
                                       torch.nn.Linear(hidden, bottleneck))
        self.last_layer = torch.nn.Module()
        if weight_norm:
            self.last_layer.weight_g = torch.nn.Parameter(torch.ones(k, 1), requires_grad=train_gain)
            self.last_layer.weight_v = torch.nn.Parameter(torch.zeros(k, bottleneck))
        else:
            self.last_layer.weight = torch.nn.Parameter(torch.zeros(k, bottleneck))

    def forward(self, x):
        x = F.normalize(self.mlp(x), dim=-1, eps=1e-12)
        if hasattr(self.last_layer, "weight"):
            return x @ self.last_layer.weight.T
        v = self.last_layer.weight_v
        return x @ (self.last_layer.weight_g * v / v.norm(dim=1, keepdim=True)).T


class Model(torch.nn.Module):
    def __init__(self, recipe):
        super().__init__()
        self.backbone = Dinov2Model(Dinov2Config(
            hidden_size=DIM, num_hidden_layers=DEPTH, num_attention_heads=HEADS, mlp_ratio=2, image_size=SIDE * PATCH, patch_size=PATCH,
            num_channels=1, layer_norm_eps=1e-6, layerscale_value=0.5, attn_implementation="sdpa")).double()
        self.dino_head = Head(12, 6, 10, recipe["weight_norm"], recipe["train_gain"])
        if recipe["separate_head"]:
            self.ibot_head = Head(10, 5, 7, recipe["weight_norm"], True)

    def patch_head(self):
        return self.ibot_head if hasattr(self, "ibot_head") else self.dino_head


def name_of(name):
    """The name in a file, which differs from the module's."""
    for module, stored in (("q_proj", "attention.query"), ("k_proj", "attention.key"), ("v_proj", "attention.value"), ("o_proj", "output.dense")):
        name = name.replace(f"attention.{module}.", f"attention.{stored}.")
    return name.removeprefix("backbone.")


def initial(name, shape):
    values = 0.3 * wave(name, *shape)
    if "norm" in name and name.endswith("weight") or "lambda1" in name or "weight_g" in name:
        values = 1 + 0.3 * values
    return values


def depth_of(name):
    if name.startswith("embeddings."):
        return 0
    if name.startswith("encoder.layer."):
        return int(name.split(".")[2]) + 1
    return DEPTH + 1


def clip_group(recipe, key):
    """q, k and v are one matrix in the reference implementations."""
    if recipe["clip"] == "module":
        return key.split(".")[0]
    return key.replace(".q_proj.", ".qkv.").replace(".k_proj.", ".qkv.").replace(".v_proj.", ".qkv.")


def trajectory(recipe):
    student, teacher = Model(recipe), Model(recipe)
    with torch.no_grad():
        for n, p in student.named_parameters():
            p.copy_(initial(name_of(n), p.shape))
    teacher.load_state_dict(student.state_dict())
    teacher.requires_grad_(False)
    if recipe["ibot"] == 0:
        student.backbone.embeddings.mask_token.requires_grad_(False)
    groups = []
    for n, p in student.named_parameters():
        if not p.requires_grad:
            continue
        key = name_of(n)
        mul = recipe["layer_decay"] ** (DEPTH + 1 - depth_of(key))
        if "patch_embeddings" in key:
            mul *= recipe["patch_lr"]
        decayed = not (key.endswith("bias") or "norm" in key or "lambda1" in key)
        groups.append({"params": [p], "mul": mul, "decayed": decayed, "key": n, "last": "last_layer" in key})
    opt = torch.optim.AdamW(groups, lr=0, betas=(0.9, 0.999), eps=1e-8)
    centres = {"dino": torch.zeros(10), "ibot": torch.zeros(7 if recipe["separate_head"] else 10)}
    losses = []
    for step in range(STEPS):
        lr = cosine(2e-3, 1e-5, 12, step, warmup=3)
        wd, momentum = cosine(0.04, 0.4, 12, step), cosine(0.9, 1, 12, step)
        tt = 0.04 + (0.07 - 0.04) * step / 4 if step < 5 else 0.07
        for g in opt.param_groups:
            g["lr"] = lr * g["mul"] * (0 if g["last"] and step < 3 and recipe["freeze"] == "held" else 1)
            g["weight_decay"] = wd if g["decayed"] else 0
        # Crops are f32 numbers, as the program gets them.
        globals_ = wave(f"globals {step}", 2 * BATCH, 1, SIDE * PATCH, SIDE * PATCH).float().double()
        locals_ = wave(f"locals {step}", LOCALS * BATCH, 1, SIDE, SIDE).float().double()
        mask = None
        if recipe["ibot"] > 0:
            mask = torch.tensor(masks(2 * BATCH, SIDE, SEED, step, 0.5, 0.1, 0.5, recipe["exact"]))
        with torch.no_grad():
            out = teacher.backbone(globals_).last_hidden_state
            z = teacher.dino_head(out[:, 0])
            if recipe["sinkhorn"]:
                p = sinkhorn(z, tt)
            else:
                p = centred(z, centres["dino"], tt)
                centres["dino"] = 0.9 * centres["dino"] + 0.1 * z.mean(0)
            if mask is not None:
                zp = teacher.patch_head()(out[:, 1:][mask])
                if recipe["sinkhorn"]:
                    pp = sinkhorn(zp, tt)
                else:
                    pp = centred(zp, centres["ibot"], tt)
                    centres["ibot"] = 0.9 * centres["ibot"] + 0.1 * zp.mean(0)
        kwargs = {} if mask is None else {"bool_masked_pos": mask}
        out = student.backbone(globals_, **kwargs).last_hidden_state
        cls = torch.cat([out[:, 0], student.backbone(locals_).last_hidden_state[:, 0]]).reshape(2 + LOCALS, BATCH, DIM)
        s = student.dino_head(cls)
        fns = [(None, lambda t, v=v: cross(s[v], t, 0.1).mean()) for v in range(2 + LOCALS)]
        g, l = dino(fns, p.reshape(2, BATCH, -1), BATCH, LOCALS)
        parts = [g, l, torch.zeros(()), torch.zeros(())]
        if mask is not None:
            weights = (1 / mask.sum(1).clamp(min=1))[:, None].expand_as(mask)[mask]
            sp = student.patch_head()(out[:, 1:][mask])
            parts[2] = recipe["ibot"] * (cross(sp, pp, 0.1) * weights).sum() / (2 * BATCH)
        if recipe["koleo"] > 0:
            parts[3] = koleo(cls[0], recipe["koleo"]) + koleo(cls[1], recipe["koleo"])
        opt.zero_grad(set_to_none=True)
        sum(parts).backward()
        losses.append([x.item() for x in parts])
        norms = {}
        with torch.no_grad():
            for n, q in student.named_parameters():
                if not q.requires_grad:
                    continue
                if q.grad is None:
                    q.grad = torch.zeros_like(q)
                if "last_layer" in n and step < 3 and recipe["freeze"] == "skipped":
                    q.grad = None
                    continue
                norms.setdefault(clip_group(recipe, n), []).append(q.grad)
            for gs in norms.values():
                norm = math.sqrt(sum((x ** 2).sum().item() for x in gs))
                for x in gs:
                    x.mul_(min(1, 3 / (norm + 1e-6)))
        opt.step()
        with torch.no_grad():
            for q, r in zip(student.parameters(), teacher.parameters()):
                r.mul_(momentum).add_((1 - momentum) * q)
    return {"recipe": recipe, "losses": losses,
            "student": {name_of(n): digest(q) for n, q in student.named_parameters()},
            "teacher": {name_of(n): digest(q) for n, q in teacher.named_parameters()},
            "centre": digest(centres["dino"]), "patch_centre": digest(centres["ibot"])}


RECIPES = [
    {"name": "dino", "weight_norm": True, "train_gain": False, "separate_head": False, "sinkhorn": False, "ibot": 0, "koleo": 0,
     "exact": False, "clip": "tensor", "freeze": "skipped", "layer_decay": 1, "patch_lr": 1},
    {"name": "dinov2", "weight_norm": True, "train_gain": True, "separate_head": False, "sinkhorn": False, "ibot": 1, "koleo": 0.1,
     "exact": False, "clip": "module", "freeze": "held", "layer_decay": 0.9, "patch_lr": 0.2},
    {"name": "dinov3", "weight_norm": False, "train_gain": True, "separate_head": True, "sinkhorn": True, "ibot": 0.7, "koleo": 0.1,
     "exact": True, "clip": "module", "freeze": "held", "layer_decay": 0.9, "patch_lr": 0.2},
]

if __name__ == "__main__":
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "losses.json")
    with open(path, "w") as f:
        json.dump({
            "generator": f"losses.py with torch {torch.__version__}, transformers {transformers.__version__}",
            "masks": [{"exact": e, "step": i, "crops": masks(8, 6, 11, i, 0.7, 0.1, 0.6, e)} for e in (False, True) for i in range(4)],
            "losses": prototype_cases() + pair_cases(),
            "trajectories": [trajectory(r) for r in RECIPES],
        }, f, indent=None, separators=(",", ":"))
        f.write("\n")
