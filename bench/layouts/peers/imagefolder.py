"""The reading of torchvision's ImageFolder.

Usage: peer.py. The protocol is described in package peer: a path in hexadecimal is answered with one line of JSON, the
classes and the samples (path below the folder, number of the class) with names in hexadecimal, or the error. Samples
behind a link that leads back up are found again and again; those below more than 6 folders are counted only.
"""
import json
import os
import sys

import torchvision
from torchvision.datasets import ImageFolder

print(f"torchvision {torchvision.__version__}", flush=True)
for line in sys.stdin:
    root = os.fsdecode(bytes.fromhex(line.strip()))
    try:
        found = ImageFolder(root)
    except Exception as e:  # whatever it refuses is its answer
        print(json.dumps({"error": f"{type(e).__name__}: {e}".encode("utf-8", "backslashreplace").decode()[:200]}), flush=True)
        continue
    samples, deep = [], 0
    for path, label in found.samples:
        below = os.path.relpath(path, root)
        if below.count(os.sep) > 6:
            deep += 1
        else:
            samples.append([os.fsencode(below).hex(), label])
    classes = [os.fsencode(c).hex() for c in found.classes]
    print(json.dumps({"classes": classes, "samples": samples, "deep": deep}), flush=True)
