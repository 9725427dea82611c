"""PyTorch as a contestant of the matrix product benchmark. The protocol is described in package peer and peer.go."""
import re
import sys
import time

import torch

mkl = re.search(r"Math Kernel Library Version (\S+)", torch.__config__.show())
print(f"PyTorch {torch.__version__} (MKL {mkl.group(1) if mkl else 'absent'})", flush=True)
DISTINCT = (1 << 20) - 3  # random numbers, which then repeat


def matrix(rows, cols):
    x = torch.empty(rows * cols)
    x[:DISTINCT] = torch.rand(min(DISTINCT, rows * cols)) * 2 - 1
    for i in range(DISTINCT, rows * cols, DISTINCT):
        x[i : i + DISTINCT] = x[: min(DISTINCT, rows * cols - i)]
    return x.view(rows, cols)


for line in sys.stdin:
    word, *args = line.split()
    args = [int(a) for a in args]
    if word == "shape":
        m, n, k, ta, tb, threads = args
        torch.set_num_threads(threads)
        a = matrix(k, m) if ta else matrix(m, k)
        b = matrix(n, k) if tb else matrix(k, n)
        c = torch.zeros(m, n)
        a = a.t() if ta else a
        b = b.t() if tb else b
        torch.mm(a, b, out=c)
        print("ok", flush=True)
    else:
        start = time.perf_counter_ns()
        for _ in range(args[0]):
            torch.mm(a, b, out=c)
        print(time.perf_counter_ns() - start, flush=True)
