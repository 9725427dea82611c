"""DINO's published multi-crop transform on Pillow images: decoding, 2 x 224 and 8 x 96 views, as tensors.

Usage: peer.py IMAGE. The protocol is described in package peer: "images n" is answered with nanoseconds.
"""
import io
import random
import sys
import time

import PIL
import torch
import torchvision
from PIL import Image, ImageFilter, ImageOps
from torchvision import transforms as T

torch.set_num_threads(1)


class Blur:
    def __init__(self, p):
        self.p = p

    def __call__(self, im):
        if random.random() >= self.p:
            return im
        return im.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


class Solarise:
    def __call__(self, im):
        return ImageOps.solarize(im) if random.random() < 0.2 else im


colour = [T.RandomHorizontalFlip(0.5), T.RandomApply([T.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8), T.RandomGrayscale(0.2)]
end = [T.ToTensor(), T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]


def view(size, scale, more):
    crop = T.RandomResizedCrop(size, scale=scale, interpolation=T.InterpolationMode.BICUBIC)
    return T.Compose([crop, *colour, *more, *end])


views = [view(224, (0.4, 1.0), [Blur(1.0)]), view(224, (0.4, 1.0), [Blur(0.1), Solarise()])]
views += [view(96, (0.05, 0.4), [Blur(0.5)])] * 8
data = open(sys.argv[1], "rb").read()
print(f"torchvision {torchvision.__version__} + Pillow {PIL.__version__}", flush=True)
for line in sys.stdin:
    n = int(line.split()[1])
    start = time.perf_counter_ns()
    for _ in range(n):
        image = Image.open(io.BytesIO(data)).convert("RGB")
        for v in views:
            v(image)
    print(time.perf_counter_ns() - start, flush=True)
