"""Writes torch.npz: inputs and results of PyTorch, in float64, that kernels/ref is tested against.

Run in this folder, with torch and numpy: python make_fixtures.py
The versions used are written to torch.versions.txt.
"""

import math
import platform

import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.manual_seed(20)
torch.set_num_threads(1)

out = {}


def keep(group, **tensors):
    for name, t in tensors.items():
        t = torch.as_tensor(t).detach()
        out[f"{group}.{name}"] = t.to(torch.int32).numpy() if not t.is_floating_point() else t.numpy()


def leaf(*shape, scale=1.0):
    return (torch.randn(*shape) * scale).requires_grad_()


def layer_norm():
    x, g, b = leaf(5, 12), leaf(12), leaf(12)
    dy = torch.randn(5, 12)
    y = F.layer_norm(x, (12,), g, b, 1e-6)
    y.backward(dy)
    keep("layer_norm", x=x, gamma=g, beta=b, dy=dy, y=y, dx=x.grad, dgamma=g.grad, dbeta=b.grad)


def activations():
    for name, f in {
        "gelu": F.gelu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
        "silu": F.silu,
        "relu": F.relu,
        "tanh": torch.tanh,
    }.items():
        x = torch.cat([torch.linspace(-9, 9, 37), torch.tensor([1e-8, -1e-8, 40.0, -40.0])]).requires_grad_()
        dy = torch.randn_like(x)
        y = f(x)
        y.backward(dy)
        keep(name, x=x, dy=dy, y=y, dx=x.grad)


def swiglu():
    x, dy = leaf(4, 10, scale=2), torch.randn(4, 5)
    gate, value = x.chunk(2, dim=-1)
    y = F.silu(gate) * value
    y.backward(dy)
    keep("swiglu", x=x, dy=dy, y=y, dx=x.grad)


def attention():
    heads, d, lengths = 2, 4, [5, 1, 3]
    qkv = leaf(sum(lengths), 3 * heads * d)
    dout = torch.randn(sum(lengths), heads * d)
    outs, lses = [], []
    at = 0
    for n in lengths:
        q, k, v = qkv[at : at + n].reshape(n, 3, heads, d).permute(1, 2, 0, 3)
        outs.append(F.scaled_dot_product_attention(q[None], k[None], v[None])[0].transpose(0, 1).reshape(n, heads * d))
        lses.append(torch.logsumexp(q @ k.transpose(-1, -2) / math.sqrt(d), dim=-1))
        at += n
    o = torch.cat(outs)
    o.backward(dout)
    starts = torch.tensor([0, 5, 6, 9])
    keep("attention", qkv=qkv, dout=dout, starts=starts, out=o, lse=torch.cat(lses, dim=1), dqkv=qkv.grad)


def rope():
    tokens, heads, d = 4, 2, 6
    qkv = torch.randn(tokens, 3, heads, d)
    angles = torch.randn(tokens, d // 2)
    cos, sin = torch.cos(angles), torch.sin(angles)

    def rotate_half(x):
        a, b = x.chunk(2, dim=-1)
        return torch.cat([-b, a], dim=-1)

    c, s = torch.cat([cos, cos], -1)[:, None], torch.cat([sin, sin], -1)[:, None]
    result = qkv.clone()
    for part in (0, 1):
        result[:, part] = qkv[:, part] * c + rotate_half(qkv[:, part]) * s
    keep("rope", qkv=qkv.reshape(tokens, -1), cos=cos, sin=sin, result=result.reshape(tokens, -1))


def weight_norm():
    layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(6, 5, bias=False))
    g, v = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    with torch.no_grad():
        g.copy_(torch.rand_like(g) + 0.5)
    dw = torch.randn(5, 6)
    w = layer.weight
    w.backward(dw)
    keep("weight_norm", v=v, gain=g.reshape(-1), dw=dw, w=w, dv=v.grad, dgain=g.grad.reshape(-1))


def normalize():
    x = torch.randn(4, 6)
    x[2] *= 1e-3  # shorter than eps
    x.requires_grad_()
    dy = torch.randn(4, 6)
    y = F.normalize(x, dim=-1, eps=0.01)
    y.backward(dy)
    keep("normalize", x=x, dy=dy, y=y, dx=x.grad)


def dino_loss():
    # Two teacher views and four student views of three images; a student view meets the teacher views that are not
    # itself, and every pair counts the same (the loss of DINO).
    images, k, t_temp, s_temp = 3, 11, 0.04, 0.1
    student = leaf(4 * images, k, scale=0.3)
    teacher = torch.randn(2 * images, k) * 0.3
    centre = torch.randn(k) * 0.05
    s, t = (student / s_temp).chunk(4), F.softmax((teacher - centre) / t_temp, dim=-1).chunk(2)
    loss, terms, pairs = 0.0, 0, []
    for iq, q in enumerate(t):
        for v in range(4):
            if v == iq:
                continue
            loss = loss + torch.sum(-q * F.log_softmax(s[v], dim=-1), dim=-1).mean()
            terms += 1
            pairs += [(v * images + i, iq * images + i) for i in range(images)]
    loss = loss / terms
    loss.backward()
    pairs.sort()
    rows = torch.tensor([q for _, q in pairs])
    starts = torch.tensor([sum(r < n for r, _ in pairs) for n in range(4 * images + 1)])
    keep("dino_loss", student=student, teacher=teacher, centre=centre, rows=rows, starts=starts,
         weight=torch.tensor([1.0 / (terms * images)]), loss=loss.reshape(1), dstudent=student.grad)


def koleo():
    # DINOv2: nearest neighbour by dot product, distance with eps inside the norm, mean of -log(distance + eps).
    eps = 1e-8
    raw = torch.randn(7, 5)
    x = F.normalize(raw, dim=-1).requires_grad_()
    with torch.no_grad():
        dots = x @ x.T
        kept = dots.clone()
        dots.fill_diagonal_(-1)
        nearest = dots.argmax(dim=1)
    dist = torch.nn.PairwiseDistance(2, eps=eps)(x, x[nearest])
    loss = -torch.log(dist + eps).mean()
    loss.backward()
    keep("koleo", x=x, dots=kept, nearest=nearest, loss=loss.reshape(1), dx=x.grad)


def sinkhorn():
    z, temp = torch.randn(6, 9) * 0.2, 0.07
    q = torch.exp(z / temp).T
    k, b = q.shape
    q /= q.sum()
    for _ in range(3):
        q /= q.sum(dim=1, keepdim=True)
        q /= k
        q /= q.sum(dim=0, keepdim=True)
        q /= b
    keep("sinkhorn", z=z, q=(q * b).T.contiguous())


def adamw():
    p = torch.nn.Parameter(torch.randn(9))
    start = p.detach().clone()
    teacher = torch.randn(9)
    opt = torch.optim.AdamW([p], lr=3e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.04)
    grads, params, teachers, norms = [], [], [], []
    first = teacher.clone()
    for _ in range(5):
        p.grad = torch.randn(9)
        grads.append(p.grad.clone())
        norms.append(torch.nn.utils.clip_grad_norm_([p], 2.0))
        opt.step()
        teacher = 0.99 * teacher + 0.01 * p.detach()
        params.append(p.detach().clone())
        teachers.append(teacher.clone())
    state = opt.state[p]
    keep("adamw", start=start, teacher=first, grads=torch.stack(grads), params=torch.stack(params), teachers=torch.stack(teachers),
         norms=torch.stack(norms), m=state["exp_avg"], v=state["exp_avg_sq"])


def rest():
    images = torch.randn(2, 3, 9, 13)
    keep("patchify", images=images, patches=F.unfold(images[:, :, :8, :12], 4, stride=4).transpose(1, 2).reshape(-1, 48))
    x = torch.randn(7, 4) + 3
    keep("moments", x=x, mean=x.mean(0), variance=x.var(0, unbiased=False))
    p = torch.rand(10)
    keep("entropy", p=p, entropy=torch.distributions.Categorical(probs=p).entropy().reshape(1))
    a, b = leaf(3, 4), torch.randn(3, 4)
    loss = F.mse_loss(a, b)
    loss.backward()
    keep("mse", a=a, b=b, loss=loss.reshape(1), da=a.grad)
    a, w, bias = torch.randn(3, 5), torch.randn(4, 5), torch.randn(4)
    residual, gamma = torch.randn(3, 4), torch.randn(4)
    keep("linear", x=a, w=w, bias=bias, residual=residual, gamma=gamma, y=residual + gamma * F.gelu(F.linear(a, w, bias)))


for f in (layer_norm, activations, swiglu, attention, rope, weight_norm, normalize, dino_loss, koleo, sinkhorn, adamw, rest):
    f()
np.savez_compressed("torch.npz", **out)
with open("torch.versions.txt", "w") as f:
    f.write(f"python {platform.python_version()}\ntorch {torch.__version__}\nnumpy {np.__version__}\n")
