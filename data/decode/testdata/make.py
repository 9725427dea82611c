"""Writes pictures/, one small picture for each format, mode and option, and pixels.json: what Pillow reads in each.

    python make.py

pixels.json holds the versions used and, for each picture, Pillow's mode and size, the pixels of
Image.open(f).convert("RGB") (no exif_transpose), those of a grey picture before that (16 bits where Pillow keeps 16), or
that Pillow refuses the file, in a few cases with the pixels that were written.
"""

import base64
import io
import json
import pathlib
import platform
import struct
import zlib

import imagecodecs
import numpy as np
import PIL
import tifffile
from PIL import Image, features

HERE = pathlib.Path(__file__).parent
OUT = HERE / "pictures"
W, H = 13, 11


def photo(w=W, h=H, seed=1):
    """A coloured picture with slopes, edges and some noise."""
    rng = np.random.RandomState(seed)
    y, x = np.mgrid[0:h, 0:w]
    p = np.stack([255 * x / max(1, w - 1), 255 * y / max(1, h - 1), 128 + 120 * np.sin(x * 0.9 + y * 0.5)], -1)
    p[h // 4 : h // 2, w // 3 : w // 2] = (230, 20, 40)
    p[h // 2 :, 2 * w // 3 :] = (15, 60, 220)
    p[0, : w // 3] = 255
    p[-1, : w // 3] = 0
    return np.clip(p + rng.randint(-12, 13, p.shape), 0, 255).astype(np.uint8)


RGB = photo()
GREY = RGB[..., 1].copy()
GREY[0, :4] = (0, 1, 254, 255)
ALPHA = (np.arange(W * H).reshape(H, W) * 37 % 256).astype(np.uint8)
ALPHA[0, :4] = (0, 255, 1, 128)
RGBA = np.dstack([RGB, ALPHA])
LA = np.dstack([GREY, ALPHA])
GREY16 = (GREY.astype(np.uint16) * 257) ^ (np.arange(W * H, dtype=np.uint16).reshape(H, W) * 91)
GREY16[0, :6] = (0, 1, 255, 256, 300, 65535)
RGB16 = (RGB.astype(np.uint16) << 8) | (255 - RGB)
RGBA16 = np.dstack([RGB16, ALPHA.astype(np.uint16) * 257])
BILEVEL = (GREY > 120).astype(np.uint8)


def levels(bits):
    return (GREY >> (8 - bits)).astype(np.uint8)


def palette(n, grey=False):
    rng = np.random.RandomState(n)
    p = rng.randint(0, 256, (n, 3))
    if grey:
        p[:] = p[:, :1]
    return p.astype(np.uint8)


def indices(n):
    return ((np.arange(W * H) * 7 + np.arange(W * H) // 5) % n).reshape(H, W).astype(np.uint8)


def save(img, fmt, **kw):
    b = io.BytesIO()
    img.save(b, fmt, **kw)
    return b.getvalue()


def pack(a, bits):
    """Rows of samples of 1, 2, 4, 8 or 16 (big-endian) bits, each row filled up to a byte; a is [H, W] or [H, W, C]."""
    a = a.reshape(a.shape[0], -1)
    if bits == 16:
        return [r.astype(">u2").tobytes() for r in a]
    if bits == 8:
        return [r.astype(np.uint8).tobytes() for r in a]
    rows = []
    for r in a:
        s = "".join(format(int(v), f"0{bits}b") for v in r)
        s += "0" * (-len(s) % 8)
        rows.append(int(s, 2).to_bytes(len(s) // 8, "big"))
    return rows


# ---- JPEG


def segments(b):
    """The marker segments before the scan data, and the rest."""
    at, out = 2, []
    while b[at + 1] != 0xDA:
        n = struct.unpack(">H", b[at + 2 : at + 4])[0] + 2
        out.append(b[at : at + n])
        at += n
    return out, b[at:]


def join(segs, rest):
    return b"\xff\xd8" + b"".join(segs) + rest


def without(b, marker):
    segs, rest = segments(b)
    return join([s for s in segs if s[1] != marker], rest)


def adobe(b, transform):
    segs, rest = segments(b)
    app14 = b"\xff\xee" + struct.pack(">H", 14) + b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform)
    return join([app14] + [s for s in segs if s[1] not in (0xEE, 0xE0)], rest)


def component_ids(b, ids):
    segs, rest = segments(b)
    rest = bytearray(rest)
    for i, s in enumerate(segs):
        if s[1] in (0xC0, 0xC1, 0xC2):
            s = bytearray(s)
            for c, v in enumerate(ids):
                s[10 + 3 * c] = v
            segs[i] = bytes(s)
    for c, v in enumerate(ids):
        rest[5 + 2 * c] = v
    return join(segs, bytes(rest))


def jpegs():
    rgb, grey = Image.fromarray(RGB), Image.fromarray(GREY)
    big = photo(37, 29)
    yield "grey", save(grey, "JPEG", quality=90)
    yield "grey-progressive", save(grey, "JPEG", quality=90, progressive=True)
    yield "grey-16x16", save(Image.fromarray(photo(16, 16)[..., 0]), "JPEG", quality=75)
    for s in ("444", "422", "420", "440", "411"):
        yield f"ycbcr-{s}", imagecodecs.jpeg8_encode(RGB, 90, subsampling=s)
        yield f"ycbcr-{s}-37x29", imagecodecs.jpeg8_encode(big, 80, subsampling=s)
    for s in (0, 1, 2):
        name = ("444", "422", "420")[s]
        yield f"ycbcr-{name}-progressive", save(Image.fromarray(big), "JPEG", quality=85, subsampling=s, progressive=True)
        yield f"ycbcr-{name}-restart", save(Image.fromarray(big), "JPEG", quality=85, subsampling=s, restart_marker_blocks=1)
    yield "ycbcr-420-restart-rows", save(Image.fromarray(big), "JPEG", quality=85, restart_marker_rows=1)
    yield "ycbcr-420-progressive-restart", save(Image.fromarray(big), "JPEG", progressive=True, restart_marker_blocks=2)
    yield "ycbcr-optimised", save(rgb, "JPEG", optimize=True)
    for w, h in ((1, 1), (2, 2), (3, 3), (4, 5), (5, 4), (6, 6), (1, 9), (9, 1), (16, 16), (17, 17)):
        yield f"ycbcr-420-{w}x{h}", save(Image.fromarray(photo(w, h)), "JPEG", quality=90, subsampling=2)
    for w, h in ((1, 9), (9, 1), (4, 3), (16, 16)):
        yield f"ycbcr-422-{w}x{h}", save(Image.fromarray(photo(w, h)), "JPEG", quality=90, subsampling=1)
        yield f"ycbcr-440-{w}x{h}", imagecodecs.jpeg8_encode(photo(w, h), 90, subsampling="440")
    yield "quality-1", save(rgb, "JPEG", quality=1)
    yield "quality-100", save(rgb, "JPEG", quality=100)
    yield "no-jfif", without(save(rgb, "JPEG", quality=90), 0xE0)
    yield "component-ids-0-1-2", component_ids(without(save(rgb, "JPEG", quality=90), 0xE0), (0, 1, 2))
    y = save(rgb, "JPEG", quality=90, subsampling=0)
    yield "adobe-ycbcr", adobe(y, 1)
    yield "adobe-ycbcr-ids-rgb", component_ids(adobe(y, 1), b"RGB")
    r = save(rgb, "JPEG", quality=90, keep_rgb=True)
    yield "rgb-adobe", r
    yield "rgb-adobe-ids-1-2-3", component_ids(r, (1, 2, 3))
    yield "rgb-ids-without-adobe", without(r, 0xEE)
    yield "rgb-ids-jfif", join([segments(y)[0][0]] + segments(without(r, 0xEE))[0], segments(r)[1])
    yield "rgb-adobe-420", adobe(save(Image.fromarray(big), "JPEG", quality=90, subsampling=2), 0)
    yield "rgb-adobe-progressive", save(Image.fromarray(big), "JPEG", quality=90, keep_rgb=True, progressive=True)
    cmyk = np.dstack([255 - RGB, ALPHA // 2])
    c = save(Image.fromarray(cmyk, "CMYK"), "JPEG", quality=90)
    yield "cmyk-adobe", c
    yield "cmyk-adobe-progressive", save(Image.fromarray(cmyk, "CMYK"), "JPEG", quality=90, progressive=True)
    yield "cmyk-without-adobe", without(c, 0xEE)
    yield "ycck-adobe", imagecodecs.jpeg8_encode(cmyk, 90, colorspace="CMYK", outcolorspace="YCCK", subsampling="444")
    bigk = np.dstack([255 - big, (np.arange(37 * 29).reshape(29, 37) % 200).astype(np.uint8)])
    for s in ("420", "422"):
        yield f"ycck-adobe-{s}", imagecodecs.jpeg8_encode(bigk, 90, colorspace="CMYK", outcolorspace="YCCK", subsampling=s)
    e = Image.Exif()
    for o in (3, 6):
        e[0x0112] = o
        yield f"exif-orientation-{o}", save(rgb, "JPEG", quality=90, exif=e.tobytes())
    yield "icc-profile", save(rgb, "JPEG", quality=90, icc_profile=b"not a profile" * 20)
    yield "comment", save(rgb, "JPEG", quality=90, comment=b"a comment")
    yield "bytes-after-the-end", save(rgb, "JPEG", quality=90) + b"\0" * 50
    yield "fill-bytes-before-markers", b"\xff\xd8\xff\xff" + save(rgb, "JPEG", quality=90)[2:]
    yield "no-end-marker", save(rgb, "JPEG", quality=90)[:-2]
    yield "cut-in-half", save(Image.fromarray(big), "JPEG", quality=90)[:700]
    yield "12-bit", imagecodecs.jpeg_encode(GREY16 >> 4, 90, bitspersample=12)
    yield "lossless", imagecodecs.jpeg8_encode(RGB, lossless=True)
    yield "lossless-grey-16-bit", imagecodecs.ljpeg_encode(GREY16)
    p = save(Image.fromarray(big), "JPEG", quality=85, progressive=True)
    for n in (1, 4):
        at = len(p)
        for _ in range(n):
            at = p.rindex(b"\xff\xda", 0, at)
        yield f"progressive-without-{n}-scans", p[:at] + b"\xff\xd9"
    two = save(rgb, "JPEG", quality=90)
    yield "mpo", save(rgb, "MPO", save_all=True, append_images=[Image.fromarray(255 - RGB)])
    yield "two-pictures", two + save(Image.fromarray(255 - RGB), "JPEG")


# ---- PNG

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(a, bits, ctype, *before, interlaced=False, plte=None, after=()):
    h, w = a.shape[:2]
    passes = [a[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [a]
    raw = b"".join(b"\0" + r for p in passes if p.size for r in pack(p, bits))
    b = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, bits, ctype, 0, 0, interlaced))
    for c in before:
        if c[0] == b"gAMA":
            b += chunk(*c)
    if plte is not None:
        b += chunk(b"PLTE", plte.tobytes())
    for c in before:
        if c[0] != b"gAMA":
            b += chunk(*c)
    return b + chunk(b"IDAT", zlib.compress(raw, 9)) + b"".join(chunk(*c) for c in after) + chunk(b"IEND", b"")


def pngs():
    grey = {1: BILEVEL, 2: levels(2), 4: levels(4), 8: GREY, 16: GREY16}
    for bits, a in grey.items():
        yield f"grey-{bits}", png(a, bits, 0)
        yield f"grey-{bits}-interlaced", png(a, bits, 0, interlaced=True)
        yield f"grey-{bits}-trns", png(a, bits, 0, (b"tRNS", struct.pack(">H", int(a[5, 5]))))
    for bits in (1, 2, 4, 8):
        n = 1 << bits
        yield f"palette-{bits}", png(indices(n), bits, 3, plte=palette(n))
        yield f"palette-{bits}-grey", png(indices(n), bits, 3, plte=palette(n, True))
        yield f"palette-{bits}-interlaced", png(indices(n), bits, 3, plte=palette(n), interlaced=True)
        yield f"palette-{bits}-trns", png(indices(n), bits, 3, (b"tRNS", bytes(range(0, 255, 128 // n + 1))[:n]), plte=palette(n))
    yield "palette-8-transparent-index", png(indices(9), 8, 3, (b"tRNS", b"\xff\xff\0"), plte=palette(9))
    yield "palette-8-grey-trns", png(indices(9), 8, 3, (b"tRNS", b"\xff\xff\0"), plte=palette(9, True))
    yield "palette-8-of-5-entries", png(indices(5), 8, 3, plte=palette(5))
    yield "palette-8-index-beyond-the-palette", png(indices(9), 8, 3, plte=palette(5))
    for name, a, bits, ctype in (
        ("grey-alpha-8", LA, 8, 4),
        ("grey-alpha-16", np.dstack([GREY16, RGBA16[..., 3]]), 16, 4),
        ("rgb-8", RGB, 8, 2),
        ("rgb-16", RGB16, 16, 2),
        ("rgba-8", RGBA, 8, 6),
        ("rgba-16", RGBA16, 16, 6),
    ):
        yield name, png(a, bits, ctype)
        yield name + "-interlaced", png(a, bits, ctype, interlaced=True)
    yield "rgb-8-trns", png(RGB, 8, 2, (b"tRNS", struct.pack(">HHH", *map(int, RGB[5, 5]))))
    yield "rgb-16-trns", png(RGB16, 16, 2, (b"tRNS", struct.pack(">HHH", *map(int, RGB16[5, 5]))))
    yield "rgb-8-with-suggested-palette", png(RGB, 8, 2, plte=palette(9))
    for g in (45455, 100000):
        yield f"rgb-8-gamma-{g}", png(RGB, 8, 2, (b"gAMA", struct.pack(">I", g)))
    yield "grey-8-gamma-100000", png(GREY, 8, 0, (b"gAMA", struct.pack(">I", 100000)))
    yield "rgba-8-background", png(RGBA, 8, 6, (b"bKGD", struct.pack(">HHH", 9, 200, 3)))
    yield "filters", save(Image.fromarray(photo(16, 16)), "PNG")
    yield "animated", save(Image.fromarray(RGB), "PNG", save_all=True, append_images=[Image.fromarray(255 - RGB)])
    yield "rgb-8-chunk-after-the-data", png(RGB, 8, 2, after=[(b"tEXt", b"Comment\0after")])
    e = Image.Exif()
    e[0x0112] = 6
    yield "exif-orientation-6", save(Image.fromarray(RGB), "PNG", exif=e.tobytes())
    cut = png(RGB, 8, 2)
    yield "cut-in-half", cut[: len(cut) // 2]
    yield "without-end-chunk", cut[:-12]
    yield "cut-in-the-end-chunk", cut[:-5]
    yield "cut-in-the-checksum", cut[:-14]
    yield "cut-in-the-last-bytes", cut[:-18]
    idat = cut.index(b"IDAT")
    size = struct.unpack(">I", cut[idat - 4 : idat])[0]
    body = cut[idat + 4 : idat + 3 + size] + bytes([cut[idat + 3 + size] ^ 1])
    yield "wrong-checksum-of-the-pixels", cut[: idat - 4] + chunk(b"IDAT", body) + cut[-12:]
    text = chunk(b"tEXt", b"Comment\0after")
    yield "wrong-crc-behind-the-pixels", cut[:-12] + text[:-1] + b"?" + cut[-12:]
    yield "wrong-crc", cut[:45] + bytes([cut[45] ^ 1]) + cut[46:]


# ---- GIF


def lzw(data, bits):
    """The codes of the GIF variant of LZW, in sub-blocks."""
    clear, end = 1 << bits, (1 << bits) + 1
    out, acc, n = bytearray(), 0, 0

    def put(code, width):
        nonlocal acc, n
        acc |= code << n
        n += width
        while n >= 8:
            out.append(acc & 255)
            acc >>= 8
            n -= 8

    table, width, word = {bytes([i]): i for i in range(clear)}, bits + 1, b""
    put(clear, width)
    for v in data:
        c = word + bytes([v])
        if c in table:
            word = c
            continue
        put(table[word], width)
        if len(table) + 2 < 4096:
            table[c] = len(table) + 2
            if len(table) + 1 == (1 << width) and width < 12:
                width += 1
        word = bytes([v])
    put(table[word], width)
    if len(table) + 2 == (1 << width) and width < 12:
        width += 1
    put(end, width)
    if n:
        out.append(acc & 255)
    blocks = b"".join(bytes([len(out[i : i + 255])]) + out[i : i + 255] for i in range(0, len(out), 255))
    return bytes([bits]) + blocks + b"\0"


def gif_frame(a, bits=3, at=(0, 0), local=None, interlaced=False, transparent=None, dispose=0, cut=0):
    h, w = a.shape
    if interlaced:
        a = np.concatenate([a[0::8], a[4::8], a[2::4], a[1::2]])
    b = b""
    if transparent is not None or dispose:
        flags = (dispose << 2) | (transparent is not None)
        b += b"!\xf9\x04" + struct.pack("<BHBB", flags, 5, transparent or 0, 0)
    flags = (64 if interlaced else 0) | (0x80 | (len(local).bit_length() - 2) if local is not None else 0)
    b += b"," + struct.pack("<HHHHB", *at, w, h, flags)
    if local is not None:
        b += local.tobytes()
    data = lzw(a.tobytes()[: a.size - cut], max(2, bits))
    return b + data


def gif(*frames, plte=None, screen=(W, H), background=0, version=b"GIF89a", trailer=b";"):
    flags = 0x80 | 0x70 | (len(plte).bit_length() - 2) if plte is not None else 0x70
    b = version + struct.pack("<HHBBB", *screen, flags, background, 0)
    if plte is not None:
        b += plte.tobytes()
    return b + b"".join(frames) + trailer


def gifs():
    for bits in (1, 2, 4, 8):
        n = 1 << bits
        yield f"palette-{n}", gif(gif_frame(indices(n), bits), plte=palette(n))
    yield "palette-grey", gif(gif_frame(indices(8)), plte=palette(8, True))
    yield "palette-grey-ramp", gif(gif_frame(GREY, 8), plte=np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1))
    yield "87a", gif(gif_frame(indices(8)), plte=palette(8), version=b"GIF87a")
    yield "interlaced", gif(gif_frame(indices(8), interlaced=True), plte=palette(8))
    yield "local-palette", gif(gif_frame(indices(8), local=palette(8)), plte=palette(4))
    yield "local-palette-alone", gif(gif_frame(indices(8), local=palette(8)))
    yield "no-palette", gif(gif_frame(indices(8)))
    yield "transparent-index", gif(gif_frame(indices(8), transparent=3), plte=palette(8))
    yield "transparent-index-grey", gif(gif_frame(indices(8), transparent=3), plte=palette(8, True))
    small = indices(8)[:5, :6]
    yield "frame-smaller-than-screen", gif(gif_frame(small, at=(3, 2)), plte=palette(8), background=5)
    yield "frame-smaller-transparent", gif(gif_frame(small, at=(3, 2), transparent=2), plte=palette(8), background=5)
    yield "frame-smaller-interlaced", gif(gif_frame(small, at=(3, 2), interlaced=True), plte=palette(8))
    yield "frame-smaller-local-palette", gif(gif_frame(small, at=(7, 6), local=palette(8)), plte=palette(4), background=1)
    yield "frame-larger-than-screen", gif(gif_frame(indices(8)), plte=palette(8), screen=(9, 7))
    yield "frame-partly-outside", gif(gif_frame(small, at=(10, 9)), plte=palette(8))
    yield "animated", gif(gif_frame(indices(8)), gif_frame(indices(8)[::-1]), plte=palette(8))
    yield "animated-disposal", gif(
        gif_frame(indices(8), transparent=1, dispose=2), gif_frame(small, at=(2, 2), dispose=3), plte=palette(8))
    yield "animated-by-pillow", save(
        Image.fromarray(RGB), "GIF", save_all=True, append_images=[Image.fromarray(255 - RGB)], loop=0)
    yield "comment", gif(b"!\xfe\x05hello\0", gif_frame(indices(8)), plte=palette(8))
    yield "index-beyond-the-palette", gif(gif_frame(indices(8)), plte=palette(4))
    yield "no-trailer", gif(gif_frame(indices(8)), plte=palette(8), trailer=b"")
    yield "too-few-pixels", gif(gif_frame(indices(8), cut=20), plte=palette(8))
    b = gif(gif_frame(indices(8)), plte=palette(8))
    yield "cut-in-half", b[: len(b) * 2 // 3]


# ---- BMP


def bmp(rows, bits, w=W, h=H, plte=None, top_down=False, header=40, compression=0, masks=(), colours=0, padding=4, raw=None):
    if raw is None:
        raw = b"".join(r + b"\0" * (-len(r) % 4) for r in (rows if top_down else rows[::-1]))
    table = b""
    if plte is not None:
        table = b"".join(bytes(e[::-1]) + b"\0" * (padding - 3) for e in plte.tolist() for e in [np.array(e, np.uint8)])
    if header == 12:
        info = struct.pack("<IHHHH", 12, w, h, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, w, -h if top_down else h, 1, bits, compression, len(raw), 2835, 2835, colours, 0)
        if header >= 56:
            info += struct.pack("<IIII", *(tuple(masks) + (0,) * (4 - len(masks))))
            info += b"\0" * (header - len(info))
            if header >= 108:
                info = info[:56] + b"BGRs" + info[60:]
        elif masks:
            info += struct.pack(f"<{len(masks)}I", *masks)
    at = 14 + len(info) + len(table)
    return b"BM" + struct.pack("<IHHI", at + len(raw), 0, 0, at) + info + table + raw


def rle8(rows):
    """Runs, literals and a row that ends early."""
    out = b""
    for y, r in enumerate(rows[::-1]):
        x = 0
        while x < len(r):
            n = 1
            while x + n < len(r) and r[x + n] == r[x]:
                n += 1
            left = r[x : x + 5]
            if n < 2 and len(left) >= 3:
                out += bytes([0, len(left)]) + left + b"\0" * (len(left) % 2)
                x += len(left)
            else:
                out += bytes([n, r[x]])
                x += n
        out += b"\0\0"
    return out[:-2] + b"\0\1"


def rle4(a):
    out = b""
    for y, r in enumerate(a[::-1].tolist()):
        if y % 2:  # pairs
            for x in range(0, len(r) - 1, 2):
                out += bytes([2, r[x] << 4 | r[x + 1]])
            out += bytes([1, r[-1] << 4])
        else:  # a literal
            p = r + [0] * (-len(r) % 4)
            out += bytes([0, len(r)]) + bytes(p[i] << 4 | p[i + 1] for i in range(0, len(p), 2))
        out += b"\0\0"
    return out[:-2] + b"\0\1"


def bmps():
    grey_ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
    for bits in (1, 2, 4, 8):
        n = 1 << bits
        known = palette(n)[indices(n)]
        yield f"palette-{bits}", bmp(pack(indices(n), bits), bits, plte=palette(n)), known
        yield f"palette-{bits}-grey", bmp(pack(indices(n), bits), bits, plte=palette(n, True)), palette(n, True)[indices(n)]
        yield f"palette-{bits}-top-down", bmp(pack(indices(n), bits), bits, plte=palette(n), top_down=True), known
        yield f"palette-{bits}-os2", bmp(pack(indices(n), bits), bits, plte=palette(n), header=12, padding=3), known
    yield "palette-1-black-white", bmp(pack(BILEVEL, 1), 1, plte=grey_ramp[[0, 255]])
    yield "palette-1-white-black", bmp(pack(BILEVEL, 1), 1, plte=grey_ramp[[255, 0]])
    yield "palette-8-grey-ramp", bmp(pack(GREY, 8), 8, plte=grey_ramp)
    yield "palette-8-of-9-entries", bmp(pack(indices(9), 8), 8, plte=palette(9), colours=9)
    yield "palette-8-index-beyond-the-palette", bmp(pack(indices(12), 8), 8, plte=palette(9), colours=9)
    idx8, idx4 = indices(9), indices(9)
    idx8[2] = 4
    idx8[3, 2:9] = 1
    yield "rle8", bmp(None, 8, plte=palette(256), compression=1, raw=rle8(pack(idx8, 8)))
    yield "rle8-short-rows", bmp(None, 8, plte=palette(256), compression=1, raw=b"\4\5\0\0" * (H - 1) + b"\x0d\2\0\1")
    yield "rle8-delta", bmp(None, 8, plte=palette(256), compression=1, raw=b"\4\5\0\2\3\2\6\7\0\0" + b"\x0d\6\0\0" * (H - 3) + b"\0\1")
    yield "rle4", bmp(None, 4, plte=palette(16), compression=2, raw=rle4(idx4))
    yield "rle4-delta", bmp(None, 4, plte=palette(16), compression=2, raw=b"\5\x5a\0\2\3\2\5\x71\0\0" + b"\x0d\x64\0\0" * (H - 3) + b"\0\1")
    yield "rle4-odd-literal", bmp(
        None, 4, plte=palette(16), compression=2, raw=b"\0\5\x12\x34\x50\0\x08\x17\0\0" + b"\0\7\x12\x34\x56\x70\6\x35\0\0" * (H - 1) + b"\0\1")
    r, g, b = (RGB[..., i].astype(np.uint16) for i in range(3))
    v555 = (r >> 3) << 10 | (g >> 3) << 5 | b >> 3
    v565 = (r >> 3) << 11 | (g >> 2) << 5 | b >> 3
    le16 = lambda a: [x.astype("<u2").tobytes() for x in a]
    yield "16-555", bmp(le16(v555), 16)
    yield "16-555-top-down", bmp(le16(v555), 16, top_down=True)
    yield "16-555-bitfields", bmp(le16(v555), 16, compression=3, masks=(0x7C00, 0x3E0, 0x1F))
    yield "16-565-bitfields", bmp(le16(v565), 16, compression=3, masks=(0xF800, 0x7E0, 0x1F))
    yield "16-444-bitfields", bmp(le16((r >> 4) << 8 | (g >> 4) << 4 | b >> 4), 16, compression=3, masks=(0xF00, 0xF0, 0xF)), (RGB >> 4) * 17
    bgr = [x[:, ::-1].tobytes() for x in RGB]
    yield "24", bmp(bgr, 24)
    yield "24-top-down", bmp(bgr, 24, top_down=True)
    yield "24-os2", bmp(bgr, 24, header=12)
    bgra = [x[:, [2, 1, 0, 3]].tobytes() for x in RGBA]
    m = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    yield "32", bmp(bgra, 32)
    yield "32-top-down", bmp(bgra, 32, top_down=True)
    yield "32-v4-without-masks", bmp(bgra, 32, header=108)
    yield "32-bitfields", bmp(bgra, 32, compression=3, masks=m[:3])
    yield "32-bitfields-rgbx", bmp([x[:, [3, 2, 1, 0]].tobytes() for x in RGBA], 32, compression=3, masks=(0xFF000000, 0xFF0000, 0xFF00))
    yield "32-bitfields-10-10-10", bmp(
        [x.astype("<u4").tobytes() for x in (r.astype(np.uint32) << 22 | g.astype(np.uint32) << 12 | b.astype(np.uint32) << 2)],
        32, compression=3, masks=(0x3FF00000, 0xFFC00, 0x3FF)), (RGB.astype(int) * 4 * 255 // 1023).astype(np.uint8)
    for name, header in (("v3", 56), ("v4", 108), ("v5", 124)):
        yield f"32-{name}-alpha", bmp(bgra, 32, header=header, compression=3, masks=m)
    yield "32-v5-alpha-top-down", bmp(bgra, 32, header=124, compression=3, masks=m, top_down=True)
    yield "32-v5-abgr", bmp([x[:, [3, 2, 1, 0]].tobytes() for x in RGBA], 32, header=124, compression=3, masks=(0xFF000000, 0xFF0000, 0xFF00, 0xFF))
    yield "32-v5-rgba", bmp([x.tobytes() for x in RGBA], 32, header=124, compression=3, masks=(0xFF, 0xFF00, 0xFF0000, 0xFF000000))
    yield "24-v5", bmp(bgr, 24, header=124)
    yield "png-inside", bmp(None, 0, compression=5, raw=png(RGB, 8, 2))
    cut = bmp(bgr, 24)
    yield "cut-in-half", cut[: len(cut) // 2]


# ---- TIFF


def tif(a, **kw):
    b = io.BytesIO()
    kw.setdefault("metadata", None)
    kw.setdefault("software", False)
    tifffile.imwrite(b, a, **kw)
    return b.getvalue()


def raw_tiff(strips, tags, order="<", w=W, h=H, rows=None, counts=True):
    """A TIFF of given strips and tags: tag -> (type 3 short, 4 long or 1 byte, values)."""
    tags = {256: (4, [w]), 257: (4, [h]), 259: (3, [1]), 278: (4, [rows or h]), **tags}
    head = 8
    offsets, at = [], head
    for s in strips:
        offsets.append(at)
        at += len(s) + len(s) % 2
    tags[273] = (4, offsets)
    if counts is True:
        tags[279] = (4, [len(s) for s in strips])
    elif counts is not None:
        tags[279] = (4, [counts] * len(strips))
    data = b"".join(s + b"\0" * (len(s) % 2) for s in strips)
    body, extra = b"", b""
    end = at + 2 + 12 * len(tags) + 4
    for t in sorted(tags):
        kind, values = tags[t]
        v = struct.pack(order + str(len(values)) + {1: "B", 3: "H", 4: "I"}[kind], *values)
        if len(v) <= 4:
            v += b"\0" * (4 - len(v))
        else:
            here = end + len(extra)
            extra += v + b"\0" * (len(v) % 2)
            v = struct.pack(order + "I", here)
        body += struct.pack(order + "HHI", t, kind, len(values)) + v
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(order + "I", at) + data + struct.pack(order + "H", len(tags)) + body + b"\0\0\0\0" + extra


def ycbcr_tiff(w, h, sx, sy, reference=None, order="<"):
    """Uncompressed YCbCr with data units of sx x sy luma samples followed by Cb and Cr."""
    y = np.array(Image.fromarray(photo(w, h)).convert("YCbCr"))
    pad = np.pad(y, ((0, -h % sy), (0, -w % sx), (0, 0)), mode="edge")
    out = b""
    for by in range(0, pad.shape[0], sy):
        for bx in range(0, pad.shape[1], sx):
            out += pad[by : by + sy, bx : bx + sx, 0].tobytes() + bytes(pad[by, bx, 1:].tolist())
    tags = {258: (3, [8, 8, 8]), 262: (3, [6]), 277: (3, [3]), 530: (3, [sx, sy])}
    return raw_tiff([out], tags, order, w, h)


def tiffs():
    rgb = Image.fromarray(RGB)
    codecs = ((None, "none"), ("lzw", "lzw"), ("deflate", "deflate"), ("adobe_deflate", "adobe-deflate"),
              ("packbits", "packbits"), ("zstd", "zstd"), ("lzma", "lzma"), ("webp", "webp"))
    for c, name in codecs:
        yield f"rgb-8-{name}", tif(RGB, photometric="rgb", compression=c)
        if c not in ("webp",):
            yield f"grey-8-{name}", tif(GREY, photometric="minisblack", compression=c)
        if c not in ("webp", "packbits", "lzma"):
            yield f"grey-16-{name}", tif(GREY16, photometric="minisblack", compression=c)
    for order, name in (("<", "little-endian"), (">", "big-endian")):
        yield f"rgb-8-{name}", tif(RGB, photometric="rgb", byteorder=order)
        yield f"rgb-16-{name}", tif(RGB16, photometric="rgb", byteorder=order)
        yield f"grey-16-{name}", tif(GREY16, photometric="minisblack", byteorder=order)
        yield f"grey-16-{name}-lzw", tif(GREY16, photometric="minisblack", byteorder=order, compression="lzw")
        yield f"rgb-16-{name}-deflate", tif(RGB16, photometric="rgb", byteorder=order, compression="deflate")
        yield f"bigtiff-{name}", tif(RGB, photometric="rgb", byteorder=order, bigtiff=True), RGB
        yield (f"bigtiff-grey-16-{name}", tif(GREY16, photometric="minisblack", byteorder=order, bigtiff=True),
               np.dstack([np.minimum(GREY16, 255).astype(np.uint8)] * 3), GREY16)
    for bits, a in ((1, BILEVEL), (2, levels(2)), (4, levels(4))):
        rows = [b"".join(pack(a[i : i + 4], bits)) for i in range(0, H, 4)]
        for photometric, p in ((0, "min-is-white"), (1, "min-is-black")):
            yield f"grey-{bits}-{p}", raw_tiff(rows, {258: (3, [bits]), 262: (3, [photometric]), 277: (3, [1])}, rows=4)
            yield f"grey-{bits}-{p}-fill-order-2", raw_tiff(
                [bytes(int(format(v, "08b")[::-1], 2) for v in s) for s in rows],
                {258: (3, [bits]), 262: (3, [photometric]), 266: (3, [2]), 277: (3, [1])}, ">", rows=4)
    yield "grey-1-without-bits-tag", raw_tiff([b"".join(pack(BILEVEL, 1))], {262: (3, [1])})
    yield "grey-8-min-is-white", tif(GREY, photometric="miniswhite")
    yield "grey-8-min-is-white-lzw", tif(GREY, photometric="miniswhite", compression="lzw")
    yield "grey-16-min-is-white", tif(GREY16, photometric="miniswhite")
    yield "grey-16-min-is-white-lzw", tif(GREY16, photometric="miniswhite", compression="lzw")
    yield "grey-12", tif(GREY16 >> 4, photometric="minisblack", bitspersample=12)
    for a, name in ((GREY.astype(np.uint32) * 2, "32"), (GREY.astype(np.int8), "8-signed"), ((GREY16 // 2).astype(np.int16) - 5, "16-signed"),
                    (GREY.astype(np.int32) - 5, "32-signed"), (GREY.astype(np.float16) / 255, "16-float"),
                    (GREY.astype(np.float32) / 255, "32-float"), (GREY.astype(np.float64) / 255, "64-float")):
        yield f"grey-{name}", tif(a, photometric="minisblack")
    yield "grey-32-float-predictor-3", tif(GREY.astype(np.float32) / 255, photometric="minisblack", compression="deflate", predictor=3)
    yield "rgb-32-float", tif(RGB.astype(np.float32) / 255, photometric="rgb")
    yield "grey-without-photometric", raw_tiff([GREY.tobytes()], {258: (3, [8]), 277: (3, [1])})
    for c in ("lzw", "deflate", "zstd"):
        yield f"rgb-8-{c}-predictor-2", tif(RGB, photometric="rgb", compression=c, predictor=2)
        yield f"grey-16-{c}-predictor-2", tif(GREY16, photometric="minisblack", compression=c, predictor=2)
    yield "grey-8-lzw-predictor-2", tif(GREY, photometric="minisblack", compression="lzw", predictor=2)
    yield "rgb-16-big-endian-predictor-2", tif(RGB16, photometric="rgb", compression="lzw", predictor=2, byteorder=">")
    yield "rgba-8-lzw-predictor-2", tif(RGBA, photometric="rgb", extrasamples=["unassalpha"], compression="lzw", predictor=2)
    planes = np.moveaxis(RGB, 2, 0).copy()
    planes16 = np.moveaxis(RGB16, 2, 0).copy()
    for c in (None, "lzw", "deflate"):
        yield f"rgb-8-planar-2-{c or 'none'}", tif(planes, photometric="rgb", planarconfig="separate", compression=c)
        yield f"rgb-16-planar-2-{c or 'none'}", tif(planes16, photometric="rgb", planarconfig="separate", compression=c)
    yield "rgb-8-planar-2-predictor-2", tif(planes, photometric="rgb", planarconfig="separate", compression="lzw", predictor=2)
    yield "rgba-8-planar-2", tif(np.moveaxis(RGBA, 2, 0).copy(), photometric="rgb", planarconfig="separate", extrasamples=["unassalpha"])
    big = photo(37, 29)
    for c in (None, "deflate", "lzw", "jpeg"):
        yield f"rgb-8-tiled-{c or 'none'}", tif(big, photometric="rgb", tile=(16, 16), compression=c)
    yield "grey-16-tiled", tif(np.pad(GREY16, ((0, 9), (0, 7)), mode="edge"), photometric="minisblack", tile=(16, 16))
    yield "grey-8-tiled-predictor-2", tif(big[..., 0], photometric="minisblack", tile=(16, 16), compression="lzw", predictor=2)
    yield "rgb-8-tiled-planar-2", tif(np.moveaxis(big, 2, 0).copy(), photometric="rgb", tile=(16, 16), planarconfig="separate")
    yield "grey-1-tiled", raw_tiff_tiled_bilevel()
    for n in (1, 3, 7):
        yield f"rgb-8-{n}-rows-a-strip", tif(RGB, photometric="rgb", rowsperstrip=n)
        yield f"rgb-8-{n}-rows-a-strip-lzw", tif(RGB, photometric="rgb", rowsperstrip=n, compression="lzw")
    for s, name in (("unspecified", "unspecified"), ("assocalpha", "associated"), ("unassalpha", "unassociated")):
        a, a16 = RGBA, RGBA16
        if s == "assocalpha":
            a = np.dstack([(RGB.astype(int) * ALPHA[..., None] // 255).astype(np.uint8), ALPHA])
            a16 = np.dstack([(RGB16.astype(np.int64) * RGBA16[..., 3:] // 65535).astype(np.uint16), RGBA16[..., 3]])
        yield f"rgba-8-{name}", tif(a, photometric="rgb", extrasamples=[s])
        yield f"rgba-8-{name}-lzw", tif(a, photometric="rgb", extrasamples=[s], compression="lzw")
        yield f"rgba-16-{name}", tif(a16, photometric="rgb", extrasamples=[s])
        yield f"rgba-16-{name}-deflate", tif(a16, photometric="rgb", extrasamples=[s], compression="deflate")
        yield f"rgba-16-{name}-big-endian", tif(a16, photometric="rgb", extrasamples=[s], byteorder=">")
        g = np.dstack([(GREY.astype(int) * ALPHA // 255).astype(np.uint8), ALPHA]) if s == "assocalpha" else LA
        yield f"grey-alpha-8-{name}", tif(g, photometric="minisblack", planarconfig="contig", extrasamples=[s])
    yield "rgba-8-without-extra-samples-tag", raw_tiff([RGBA.tobytes()], {258: (3, [8] * 4), 262: (3, [2]), 277: (3, [4])})
    yield "rgb-8-colours-above-alpha", tif(np.dstack([RGB, ALPHA]), photometric="rgb", extrasamples=["assocalpha"])
    yield "grey-alpha-16-unassociated", tif(np.dstack([GREY16, RGBA16[..., 3]]), photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"])
    yield "rgb-8-two-extra-samples", tif(np.dstack([RGBA, ALPHA]), photometric="rgb", extrasamples=["unassalpha", "unspecified"])
    for bits in (1, 2, 4, 8):
        n = 1 << bits
        colours = palette(n).astype(np.uint16).T.ravel() * 257
        yield f"palette-{bits}", raw_tiff(
            [b"".join(pack(indices(n), bits))], {258: (3, [bits]), 262: (3, [3]), 277: (3, [1]), 320: (3, colours.tolist())})
        grey = palette(n, True).astype(np.uint16).T.ravel() * 257
        yield f"palette-{bits}-grey", raw_tiff(
            [b"".join(pack(indices(n), bits))], {258: (3, [bits]), 262: (3, [3]), 277: (3, [1]), 320: (3, grey.tolist())})
    yield "palette-8-lzw", save(Image.fromarray(RGB).quantize(64), "TIFF", compression="tiff_lzw")
    yield "palette-8-values-of-8-bits", raw_tiff(
        [indices(256).tobytes()], {258: (3, [8]), 262: (3, [3]), 277: (3, [1]), 320: (3, palette(256).T.ravel().tolist())})
    cmyk = np.dstack([255 - RGB, ALPHA // 2])
    yield "cmyk-8", tif(cmyk, photometric="separated")
    yield "cmyk-8-lzw", tif(cmyk, photometric="separated", compression="lzw")
    yield "cmyk-8-planar-2", tif(np.moveaxis(cmyk, 2, 0).copy(), photometric="separated", planarconfig="separate")
    yield "cmyk-16", tif(cmyk.astype(np.uint16) * 257, photometric="separated")
    yield "cmyk-8-jpeg", save(Image.fromarray(cmyk, "CMYK"), "TIFF", compression="jpeg")
    yield "lab-8", tif(np.array(Image.fromarray(RGB).convert("YCbCr")) ^ np.array([0, 128, 128], np.uint8), photometric="cielab")
    yield "lab-8-by-pillow", save(Image.fromarray(RGB, "LAB"), "TIFF")
    yield "icclab-8", tif(RGB, photometric="icclab")
    for sx, sy in ((1, 1), (2, 1), (2, 2), (4, 1), (1, 2), (4, 4)):
        yield f"ycbcr-{sx}x{sy}", ycbcr_tiff(W, H, sx, sy)
    yield "ycbcr-2x2-even", ycbcr_tiff(16, 12, 2, 2)
    yield "ycbcr-by-pillow", save(rgb.convert("YCbCr"), "TIFF")
    yield "ycbcr-by-pillow-lzw", save(rgb.convert("YCbCr"), "TIFF", compression="tiff_lzw")
    yield "rgb-8-jpeg", tif(big, photometric="rgb", compression="jpeg")
    yield "ycbcr-jpeg", tif(big, photometric="ycbcr", compression="jpeg")
    yield "ycbcr-jpeg-420", tif(np.pad(big, ((0, 3), (0, 11), (0, 0)), mode="edge"), photometric="ycbcr", compression="jpeg", subsampling=(2, 2), rowsperstrip=16)
    yield "ycbcr-jpeg-422", tif(big, photometric="ycbcr", compression="jpeg", subsampling=(2, 1))
    yield "ycbcr-jpeg-tiled", tif(big, photometric="ycbcr", compression="jpeg", subsampling=(2, 2), tile=(32, 32))
    yield "ycbcr-jpeg-by-pillow", save(Image.fromarray(big).convert("YCbCr"), "TIFF", compression="jpeg")
    yield "rgb-8-jpeg-by-pillow", save(Image.fromarray(big), "TIFF", compression="jpeg", quality=90)
    yield "grey-8-jpeg", tif(big[..., 0], photometric="minisblack", compression="jpeg")
    yield "grey-8-jpeg-by-pillow", save(Image.fromarray(big[..., 0]), "TIFF", compression="jpeg")
    bilevel = Image.fromarray((photo(40, 31)[..., 1] > 120).astype(np.uint8) * 255).convert("1")
    for c in ("tiff_ccitt", "group3", "group4", "packbits", "tiff_lzw", "tiff_adobe_deflate"):
        yield f"grey-1-{c.replace('_', '-')}", save(bilevel, "TIFF", compression=c)
    yield "grey-1-group4-min-is-white", save(bilevel, "TIFF", compression="group4", tiffinfo={262: 0})
    yield "grey-1-group3-2d", save(bilevel, "TIFF", compression="group3", tiffinfo={292: 1})
    for o in range(1, 9):
        yield f"orientation-{o}", tif(RGB, photometric="rgb", extratags=[(274, "H", 1, o, True)])
    yield "orientation-6-grey-16", tif(GREY16, photometric="minisblack", extratags=[(274, "H", 1, 6, True)])
    yield "orientation-3-lzw", tif(RGB, photometric="rgb", compression="lzw", extratags=[(274, "H", 1, 3, True)])
    yield "several-pages", tif(np.stack([RGB, 255 - RGB]), photometric="rgb")
    yield "thumbnail-first", save(rgb, "TIFF", save_all=True, append_images=[Image.fromarray(big)])
    yield "by-pillow-rgba", save(Image.fromarray(RGBA), "TIFF")
    yield "by-pillow-grey-alpha", save(Image.fromarray(LA), "TIFF")
    yield "by-pillow-grey-16", save(Image.fromarray(GREY16), "TIFF")
    yield "imagej", tif(GREY16, imagej=True)
    yield "channels-7", tif(np.dstack([RGB, RGB, GREY]), photometric="minisblack", planarconfig="contig")
    cut = tif(RGB, photometric="rgb", compression="lzw")
    yield "cut-in-half", cut[: len(cut) * 2 // 3]
    yield "grey-16-2-strips", tif(GREY16, photometric="minisblack", rowsperstrip=8)
    yield "grey-16-large-strips", tif(np.tile(GREY16, (4, 4)), photometric="minisblack", rowsperstrip=30)
    strips = [GREY[i : i + 4].tobytes() for i in range(0, H, 4)]
    grey8 = {258: (3, [8]), 262: (3, [1]), 277: (3, [1])}
    yield "grey-8-no-strip-byte-counts", raw_tiff(strips, grey8, rows=4, counts=None)
    yield "grey-8-strip-byte-counts-of-0", raw_tiff(strips, grey8, rows=4, counts=0)
    yield "grey-8-lzw-before-tiff-5", raw_tiff([unblocked(lzw(GREY.tobytes(), 8))], {**grey8, 259: (3, [5])})
    yield "no-strips", raw_tiff([], {258: (3, [8]), 262: (3, [1]), 277: (3, [1])})


def unblocked(b):
    """LZW codes without GIF's code size and sub-blocks."""
    out, at = b"", 1
    while b[at]:
        out += b[at + 1 : at + 1 + b[at]]
        at += 1 + b[at]
    return out


def raw_tiff_tiled_bilevel():
    a = np.pad(BILEVEL, ((0, 5), (0, 19)))
    tiles = [b"".join(pack(a[:16, x : x + 16], 1)) for x in (0, 16)]
    b = raw_tiff(tiles, {258: (3, [1]), 262: (3, [1]), 277: (3, [1]), 322: (3, [16]), 323: (3, [16])}, w=29, h=11)
    # The same offsets and counts under the tags of tiles: 273 -> 324, 279 -> 325, kept in ascending order.
    at = struct.unpack("<I", b[4:8])[0]
    n = struct.unpack("<H", b[at : at + 2])[0]
    entries = [bytearray(b[at + 2 + 12 * i : at + 14 + 12 * i]) for i in range(n)]
    kept = []
    for e in entries:
        t = struct.unpack("<H", e[:2])[0]
        if t == 278:
            continue
        e[:2] = struct.pack("<H", {273: 324, 279: 325}.get(t, t))
        kept.append(bytes(e))
    kept.sort(key=lambda e: struct.unpack("<H", e[:2])[0])
    tail = b[at + 2 + 12 * n :]
    return b[:at] + struct.pack("<H", len(kept)) + b"".join(kept) + tail[:4] + b"\0" * 12 + tail[4:]


# ---- WebP


def webps():
    rgb, rgba = Image.fromarray(RGB), Image.fromarray(RGBA)
    for q in (5, 50, 80, 100):
        yield f"lossy-{q}", save(rgb, "WEBP", quality=q)
    for w, h in ((1, 1), (2, 2), (3, 5), (16, 16), (17, 17), (37, 29), (40, 31)):
        yield f"lossy-{w}x{h}", save(Image.fromarray(photo(w, h)), "WEBP", quality=75)
    yield "lossy-white", save(Image.new("RGB", (W, H), "white"), "WEBP", quality=80)
    yield "lossy-black", save(Image.new("RGB", (W, H), "black"), "WEBP", quality=80)
    yield "lossy-grey", save(Image.fromarray(GREY), "WEBP", quality=80)
    yield "lossy-method-0", save(Image.fromarray(photo(37, 29)), "WEBP", quality=30, method=0)
    yield "lossy-method-6", save(Image.fromarray(photo(37, 29)), "WEBP", quality=30, method=6)
    yield "lossy-alpha", save(rgba, "WEBP", quality=80)
    yield "lossy-alpha-quality-10", save(rgba, "WEBP", quality=80, alpha_quality=10)
    yield "lossy-alpha-exact", save(rgba, "WEBP", quality=80, exact=True)
    yield "lossless", save(rgb, "WEBP", lossless=True)
    yield "lossless-37x29", save(Image.fromarray(photo(37, 29)), "WEBP", lossless=True, quality=100, method=6)
    yield "lossless-grey", save(Image.fromarray(GREY), "WEBP", lossless=True)
    yield "lossless-alpha", save(rgba, "WEBP", lossless=True)
    yield "lossless-alpha-exact", save(rgba, "WEBP", lossless=True, exact=True)
    yield "lossless-palette", save(Image.fromarray(palette(5)[indices(5)]), "WEBP", lossless=True)
    yield "lossless-two-colours", save(Image.fromarray(palette(2)[indices(2)]), "WEBP", lossless=True)
    yield "icc-profile", save(rgb, "WEBP", quality=80, icc_profile=b"not a profile")
    e = Image.Exif()
    e[0x0112] = 6
    yield "exif-orientation-6", save(rgb, "WEBP", quality=80, exif=e.tobytes())
    inverted = Image.fromarray(255 - RGB)
    for lossless in (False, True):
        kind = "lossless" if lossless else "lossy"
        yield f"animated-{kind}", save(rgb, "WEBP", save_all=True, append_images=[inverted], lossless=lossless, duration=100)
        yield f"animated-{kind}-alpha", save(rgba, "WEBP", save_all=True, append_images=[inverted], lossless=lossless, duration=100)
        yield f"animated-{kind}-small-frame", small_frame(save(Image.fromarray(RGB[:6, :7]), "WEBP", lossless=lossless))
    cut = save(Image.fromarray(photo(37, 29)), "WEBP", quality=90)
    yield "cut-in-half", cut[: len(cut) // 2]
    yield "bytes-after-the-end", save(rgb, "WEBP", quality=80) + b"\0" * 20


def small_frame(still):
    """An animation whose only frame covers a part of the canvas, on a background of red."""
    u24 = lambda v: struct.pack("<I", v)[:3]
    anmf = u24(1) + u24(1) + u24(6) + u24(5) + u24(100) + b"\0" + still[12:]
    body = b"WEBP"
    for kind, data in ((b"VP8X", bytes([2, 0, 0, 0]) + u24(W - 1) + u24(H - 1)), (b"ANIM", b"\0\0\xff\xff\0\0"), (b"ANMF", anmf)):
        body += kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


# ---- what Pillow reads


def text(a):
    return base64.b64encode(np.ascontiguousarray(a).tobytes()).decode()


def expected(b):
    try:
        im = Image.open(io.BytesIO(b))
        im.load()
        if im.mode == "La":
            im = im.convert("LA")
        row = {"mode": im.mode, "width": im.size[0], "height": im.size[1], "rgb": text(np.array(im.convert("RGB")))}
        if im.mode in ("1", "L", "LA"):
            row["grey8"] = text(np.array(im.convert("L")))
        elif im.mode.startswith("I;16"):
            row["grey16"] = text(np.array(im).astype("<u2"))
        return row
    except Exception as e:  # whatever Pillow says is what is recorded
        return {"refused": f"{type(e).__name__}: {e}".replace(str(HERE), "").split("<_io")[0].strip()}


def main():
    OUT.mkdir(exist_ok=True)
    for f in OUT.iterdir():
        f.unlink()
    rows = {}
    formats = (("jpeg", "jpg", jpegs), ("png", "png", pngs), ("gif", "gif", gifs), ("bmp", "bmp", bmps), ("tiff", "tif", tiffs), ("webp", "webp", webps))
    for fmt, ext, make in formats:
        for name, b, *known in make():
            file = f"{fmt}-{name}.{ext}"
            assert file not in rows, file
            (OUT / file).write_bytes(b)
            rows[file] = expected(b)
            if "refused" in rows[file] and known:  # the pixels that were written stand in for Pillow's
                h, w = known[0].shape[:2]
                rows[file] |= {"width": w, "height": h, "rgb": text(known[0])}
                if known[1:]:
                    rows[file]["grey16"] = text(known[1].astype("<u2"))
    versions = {"python": platform.python_version(), "pillow": PIL.__version__, "numpy": np.__version__,
                "tifffile": tifffile.__version__, "imagecodecs": imagecodecs.__version__,
                "libjpeg-turbo": features.version("libjpeg_turbo"), "libtiff": features.version("libtiff"),
                "libwebp": features.version("webp"), "zlib": features.version("zlib")}
    lines = ",\n".join(f"  {json.dumps(k)}: {json.dumps(rows[k])}" for k in sorted(rows))
    (HERE / "pixels.json").write_text('{\n "versions": ' + json.dumps(versions) + ',\n "pictures": {\n' + lines + "\n }\n}\n")
    refused = sum("refused" in r for r in rows.values())
    print(f"{len(rows)} pictures, {sum(f.stat().st_size for f in OUT.iterdir())} bytes; Pillow refuses {refused}")


if __name__ == "__main__":
    main()
