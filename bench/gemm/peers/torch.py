"""PyTorch as a contestant of the matrix product benchmark. The protocol is described in package peer and peer.go."""
import re
import sys
import time

import torch

mkl = re.search(r"Math Kernel Library Version (\S+)", torch.__config__.show())
print(f"PyTorch {torch.__version__} (MKL {mkl.group(1) if mkl else 'absent'})", flush=True)
DISTINCT = (1 << 20) - 3  # random numbers, which then repeat
memory = {}  # of the largest product so far; the others lie in it


def matrix(name, rows, cols):
    n = rows * cols
    if name not in memory or len(memory[name]) < n:
        memory.pop(name, None)
        x = torch.empty(n)
        x[:DISTINCT] = torch.rand(min(DISTINCT, n)) * 2 - 1
        for i in range(DISTINCT, n, DISTINCT):
            x[i : i + DISTINCT] = x[: min(DISTINCT, n - i)]
        memory[name] = x
    return memory[name][:n].view(rows, cols)


for line in sys.stdin:
    word, *args = line.split()
    args = [int(a) for a in args]
    if word == "shape":
        m, n, k, ta, tb, threads = args
        torch.set_num_threads(threads)
        a = matrix("a", k, m) if ta else matrix("a", m, k)
        b = matrix("b", n, k) if tb else matrix("b", k, n)
        c = matrix("c", m, n)
        a = a.t() if ta else a
        b = b.t() if tb else b
        torch.mm(a, b, out=c)
        print("ok", flush=True)
    else:
        start = time.perf_counter_ns()
        for _ in range(args[0]):
            torch.mm(a, b, out=c)
        print(time.perf_counter_ns() - start, flush=True)
