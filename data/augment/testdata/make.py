"""Makes the fixtures of this folder: what Pillow and torchvision do for fixed parameters.

Command: python make.py   (in this folder; needs pillow, torchvision, numpy; the versions used are in cases.json)
"""
import hashlib
import json

import numpy as np
import PIL
import torch
import torchvision
import torchvision.transforms.functional as F
from PIL import Image, ImageFilter, ImageOps

rng = np.random.default_rng(1)


def picture(height, width, channels):
    """Smooth shapes with edges and a little noise."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for c in range(channels):
        p = 127 + 90 * np.sin(x / (7 + 3 * c) + c) * np.cos(y / (9 - 2 * c)) + 30 * ((x + 2 * y + 11 * c) % 37 < 9)
        planes.append(p + rng.normal(0, 12, p.shape))
    a = np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)
    return Image.fromarray(a if channels == 3 else a[..., 0])


cases = []
count = 0


def keep(image, **case):
    global count
    case["file"] = f"{count:02d}.png"
    count += 1
    image.save(case["file"], optimize=True)
    cases.append(case)


rgb, grey = picture(71, 93, 3), picture(33, 40, 1)
rgb.save("rgb.png", optimize=True)
grey.save("grey.png", optimize=True)
inputs = {"rgb": rgb, "grey": grey}
filters = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR}

for source, box, size, filter in [
    ("rgb", (0, 0, 71, 93), (32, 32), "bicubic"),
    ("rgb", (5, 11, 60, 41), (24, 37), "bicubic"),
    ("rgb", (10, 20, 9, 7), (33, 65), "bicubic"),
    ("rgb", (30, 40, 1, 1), (8, 8), "bicubic"),
    ("rgb", (3, 0, 64, 64), (64, 64), "bicubic"),
    ("rgb", (1, 3, 69, 40), (30, 52), "bicubic"),
    ("rgb", (0, 2, 71, 90), (5, 3), "bicubic"),
    ("rgb", (7, 3, 50, 80), (20, 48), "bilinear"),
    ("rgb", (7, 3, 12, 10), (40, 31), "bilinear"),
    ("grey", (0, 0, 33, 40), (28, 28), "bicubic"),
    ("grey", (1, 2, 20, 19), (14, 14), "bicubic"),
]:
    top, left, h, w = box
    out = F.resized_crop(inputs[source], top, left, h, w, list(size), interpolation=getattr(F.InterpolationMode, filter.upper()))
    keep(out, op="crop", source=source, box=box, size=size, filter=filter)

for box, size in [((2.25, 3.5, 71.75, 60.125), (20, 30)), ((10.5, 0, 40, 33.3), (50, 17))]:
    keep(rgb.resize((size[1], size[0]), Image.BICUBIC, box=box), op="box", source="rgb", float_box=box, size=size, filter="bicubic")

for source in ("rgb", "grey"):
    for op, f, values in [
        ("brightness", F.adjust_brightness, (0.6, 1.37)),
        ("contrast", F.adjust_contrast, (0.63, 1.4)),
        ("saturation", F.adjust_saturation, (0.8, 1.2, 1.9)),
        ("hue", F.adjust_hue, (-0.1, 0.037, 0.1, 0.5)),
    ]:
        if source == "grey" and op in ("saturation", "hue"):
            continue
        for v in values:
            keep(f(inputs[source], v), op=op, source=source, value=v)
    for sigma in (0.1, 0.6, 1.0, 1.73, 2.0, 4.5):
        keep(inputs[source].filter(ImageFilter.GaussianBlur(radius=sigma)), op="blur", source=source, value=sigma)
    keep(ImageOps.solarize(inputs[source], 128), op="solarise", source=source)
keep(F.rgb_to_grayscale(rgb, 3), op="grey", source="rgb")

# A whole view: crop, flip, the jitter in an order, grey, blur, solarise.
for order, grey_too, sigma, solarise, flip in [
    ((2, 0, 3, 1), False, 1.3, True, True),
    ((3, 1, 0, 2), False, 0, False, False),
    ((0, 3, 2, 1), True, 0.4, False, True),
]:
    factor = (1.21, 0.77, 1.15, -0.063)
    v = F.resized_crop(rgb, 4, 9, 50, 66, [48, 48], interpolation=F.InterpolationMode.BICUBIC)
    if flip:
        v = F.hflip(v)
    steps = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
    for k in order:
        v = steps[k](v, factor[k])
    if grey_too:
        v = F.rgb_to_grayscale(v, 3)
    if sigma:
        v = v.filter(ImageFilter.GaussianBlur(radius=sigma))
    if solarise:
        v = ImageOps.solarize(v, 128)
    keep(v, op="view", source="rgb", box=(4, 9, 50, 66), size=(48, 48), filter="bicubic",
         order=order, factor=factor, grey=grey_too, sigma=sigma, solarise=solarise, flip=flip)

# All 2^24 colours, as hashes of the interleaved result.
i = np.arange(1 << 24, dtype=np.uint32)
colours = np.stack([i & 255, (i >> 8) & 255, i >> 16], -1).astype(np.uint8).reshape(4096, 4096, 3)
colours = Image.fromarray(colours)
hashes = {
    "hue 0.1": F.adjust_hue(colours, 0.1),
    "hue -0.27": F.adjust_hue(colours, -0.27),
    "saturation 1.2": F.adjust_saturation(colours, 1.2),
    "saturation 0.45": F.adjust_saturation(colours, 0.45),
    "grey": F.rgb_to_grayscale(colours, 3),
}
hashes = {k: hashlib.sha256(v.tobytes()).hexdigest() for k, v in hashes.items()}

# Every level of three channels, normalised, as the bits of float32.
levels = torch.arange(256, dtype=torch.uint8).repeat(3, 1).reshape(3, 16, 16)
tensor = F.to_tensor(levels.permute(1, 2, 0).numpy())
normal = F.normalize(tensor, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

with open("cases.json", "w") as f:
    json.dump({
        "versions": {"pillow": PIL.__version__, "torchvision": torchvision.__version__, "torch": torch.__version__, "numpy": np.__version__},
        "cases": cases,
        "all_colours": hashes,
        "normalised_sha256": hashlib.sha256(normal.contiguous().numpy().tobytes()).hexdigest(),
    }, f, indent=1)
    f.write("\n")
