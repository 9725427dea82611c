"""PyTorch as a contestant of the GPU kernel benchmarks, in the protocol of package peer.

Usage: kernels.py DEVICE FLUSH_BYTES. Lines and answers:

    gemm M N K TRANSA TRANSB                      ok
    attention forward|backward HEADS DIM SPEC     ok FLASH_WAY | BEST_WAY
    copy BYTES                                    ok
    time N WAY                                    N times, in nanoseconds
    launches N plain|graph                        nanoseconds of a launch: of the host, until the device is done

SPEC is LENGTHxCOUNT, separated by commas. Anything that fails is answered with "error: ..." and the last case is gone.
"""
import contextlib
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

DEVICE, FLUSH_BYTES = sys.argv[1], int(sys.argv[2])
CUDA = DEVICE.startswith("cuda")
flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device=DEVICE)
torch.manual_seed(3)


def sample(work):
    """One call on cold caches. The flush keeps the device busy until the host has asked for the call."""
    if not CUDA:
        start = time.perf_counter_ns()
        work()
        return time.perf_counter_ns() - start
    first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    flush.zero_()
    first.record()
    work()
    last.record()
    last.synchronize()
    return first.elapsed_time(last) * 1e6


def normal(*shape):
    return torch.randn(*shape, device=DEVICE, dtype=torch.float32).to(torch.bfloat16)


def gemm(m, n, k, ta, tb):
    a = normal(k, m).t() if ta else normal(m, k)
    b = normal(n, k).t() if tb else normal(k, n)
    out = torch.empty(m, n, device=DEVICE, dtype=torch.bfloat16)
    return {"mm": lambda: torch.mm(a, b, out=out)}


def copy(size):
    a = torch.randn(size // 4, device=DEVICE)
    b = torch.empty_like(a)
    return {"copy": lambda: b.copy_(a)}


# Ways to run attention over a pack. Each is given the packed qkv and returns a function that makes the output, and a
# function that makes the gradients of q, k and v; neither copies anything beyond what the attention call does.


def batches(qkv, dout, heads, dim, groups):
    """A call of scaled_dot_product_attention for each length, on views of the packed qkv."""
    parts, at = [], 0
    for length, count in groups:
        rows = slice(at, at + length * count)
        at = rows.stop
        q, k, v = qkv[rows].view(count, length, 3, heads, dim).permute(2, 0, 3, 1, 4).unbind(0)
        grad = dout[rows].view(count, length, heads, dim).transpose(1, 2)
        parts.append(([x.detach().requires_grad_() for x in (q, k, v)], grad))
    return [(lambda xs=xs: F.scaled_dot_product_attention(*xs), xs, grad) for xs, grad in parts]


def varlen(qkv, dout, heads, dim, groups):
    """One call of the variable-length attention of newer versions."""
    from torch.nn.attention.varlen import varlen_attn

    lengths = [length for length, count in groups for _ in range(count)]
    cu = torch.tensor([0] + lengths, device=DEVICE).cumsum(0).to(torch.int32)
    xs = [x.detach().requires_grad_() for x in qkv.view(-1, 3, heads, dim).unbind(1)]
    longest = max(lengths)
    return [(lambda: varlen_attn(*xs, cu, cu, longest, longest), xs, dout.view(-1, heads, dim))]


def nested(qkv, dout, heads, dim, groups):
    """One call of scaled_dot_product_attention on jagged nested tensors over the packed qkv."""
    lengths = [length for length, count in groups for _ in range(count)]
    offsets = torch.tensor([0] + lengths, device=DEVICE).cumsum(0)
    jagged = lambda x: torch.nested.nested_tensor_from_jagged(x, offsets, min_seqlen=min(lengths), max_seqlen=max(lengths))
    xs = [jagged(x.detach()).transpose(1, 2).detach().requires_grad_() for x in qkv.view(-1, 3, heads, dim).unbind(1)]
    return [(lambda: F.scaled_dot_product_attention(*xs), xs, jagged(dout.view(-1, heads, dim)).transpose(1, 2))]


def attention(backward, heads, dim, groups):
    """Finds the fastest way with flash kernels, and the fastest of all."""
    tokens = sum(length * count for length, count in groups)
    qkv, dout = normal(tokens, 3 * heads * dim), normal(tokens, heads * dim)
    flash = lambda: sdpa_kernel(SDPBackend.FLASH_ATTENTION)
    found = []
    for kernels, choose in (("flash", flash), ("default", contextlib.nullcontext)):
        for way in (batches, varlen, nested):
            try:
                calls = way(qkv, dout, heads, dim, groups)
                if backward:
                    with choose():
                        outs = [f() for f, _, _ in calls]

                    def work(calls=calls, outs=outs, choose=choose):
                        with choose():
                            for (_, xs, grad), out in zip(calls, outs):
                                torch.autograd.grad(out, xs, grad, retain_graph=True)
                else:

                    def work(calls=calls, choose=choose):
                        with choose(), torch.no_grad():
                            for f, _, _ in calls:
                                f()

                for _ in range(3):
                    work()
                found.append((statistics.median(sample(work) for _ in range(5)), kernels, way.__name__, work))
            except Exception as e:  # this version or this device does not have it
                print(f"{kernels} {way.__name__}: {type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}", file=sys.stderr)
    if not found:
        raise RuntimeError("no way to run attention works here")
    best = min(found, key=lambda f: f[0])
    only = [f for f in found if f[1] == "flash"]
    fast = min(only, key=lambda f: f[0]) if only else best
    name = lambda f: f[2] if f[1] == "flash" else f"{f[2]}, its own choice"
    return {"flash": fast[3], "best": best[3]}, f"{name(fast)} | {name(best)}"


def launches(n, way):
    x = torch.ones(1, device=DEVICE)

    def work():
        for _ in range(n):
            x.mul_(1.0)

    if way == "graph":
        if not CUDA:
            raise RuntimeError("graphs need a GPU")
        key = ("graph", n)
        if key not in kept:
            work()
            torch.cuda.synchronize()
            g = torch.cuda.CUDAGraph()
            with torch.cuda.graph(g):
                work()
            kept[key] = (g, x)
        work = kept[key][0].replay
    sync = torch.cuda.synchronize if CUDA else lambda: None
    sync()
    start = time.perf_counter_ns()
    work()
    host = time.perf_counter_ns() - start
    sync()
    return f"{host / n} {(time.perf_counter_ns() - start) / n}"


kept = {}


def main():
    name = torch.cuda.get_device_name() if CUDA else "CPU"
    print(f"PyTorch {torch.__version__} on {name}", flush=True)
    ways = {}
    for line in sys.stdin:
        word, *args = line.split()
        try:
            if word == "time":
                work = ways[args[1]]
                with torch.no_grad() if args[1] in ("mm", "copy") else contextlib.nullcontext():
                    answer = " ".join(str(sample(work)) for _ in range(int(args[0])))
            elif word == "launches":
                answer = launches(int(args[0]), args[1])
            else:
                ways, answer = {}, "ok"
                if CUDA:
                    torch.cuda.empty_cache()
                if word == "gemm":
                    ways = gemm(*(int(a) for a in args))
                elif word == "copy":
                    ways = copy(int(args[0]))
                elif word == "attention":
                    groups = [tuple(int(n) for n in g.split("x")) for g in args[3].split(",")]
                    ways, names = attention(args[0] == "backward", int(args[1]), int(args[2]), groups)
                    answer = f"ok {names}"
                else:
                    raise ValueError(f"what is {word}")
                for work in ways.values():
                    work()
        except Exception as e:
            answer = f"error: {type(e).__name__}: {' '.join(str(e).split())[:300]}"
        print(answer, flush=True)


main()
