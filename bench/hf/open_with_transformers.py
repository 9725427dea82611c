"""What dmx writes, opened by transformers, timm and peft.

Run: python open_with_transformers.py --dmx DMX > open_with_transformers.md

Small random models of every family are made here with transformers, timm and peft. dmx trains on them, converts them,
merges and extracts adapters; then AutoModel, AutoImageProcessor and PeftModel open what it wrote. Every folder must
load with no key missing, unexpected or of another shape, and give the CLS and patch tokens that dmx embed writes for
the same PNG images, within TOLERANCE of outputs of order one. The exit code is 1 if one does not.

The image processors are the ones that compute with Pillow, as transformers' torchvision ones round differently; the
column "torchvision" shows how far those are off. DINOv3's only exists for torchvision, and computes in floats.
"""
import argparse, datetime, json, pathlib, platform, shutil, subprocess, sys, tempfile, warnings

import numpy as np
import peft
import safetensors
import timm
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.layers import SwiGLUPacked
from transformers import AutoImageProcessor, AutoModel

TOLERANCE = 1e-4

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
parser = argparse.ArgumentParser()
parser.add_argument("--dmx", required=True)
args = parser.parse_args()
torch.set_num_threads(1)
tmp = pathlib.Path(tempfile.mkdtemp())
rng = np.random.default_rng(0)
rows, bad = [], 0


def dmx(*command):
    r = subprocess.run([args.dmx, *map(str, command)], capture_output=True, text=True)
    if r.returncode != 0:
        sys.exit(f"dmx {' '.join(map(str, command))}: exit code {r.returncode}\n{r.stderr}")
    return r.stdout


def randomise(model, seed):
    """Weights that leave outputs of order one and hide no mistake."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim >= 2 and not any(s in name for s in ("token", "position", "pos_embed")):
                p.copy_(torch.randn(p.shape, generator=g) / p[0].numel() ** 0.5)
            elif "lambda1" in name or "gamma" in name:
                p.copy_(0.5 + torch.rand(p.shape, generator=g))
            else:
                p.copy_(float(name.endswith("weight")) + 0.2 * torch.randn(p.shape, generator=g))
    return model.eval()


def pictures():
    """Ten smooth noisy colour pictures of several sizes."""
    folder = tmp / "pictures"
    for i in range(10):
        h, w = 60 + 13 * i, 150 - 7 * i
        y, x = np.mgrid[:h, :w]
        m = np.stack([127 + 90 * np.sin(x / (3 + i) + c) * np.cos(y / (9 - c)) for c in range(3)], 2) + rng.normal(0, 20, (h, w, 3))
        (folder / f"class{i % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(m.clip(0, 255).astype(np.uint8)).save(folder / f"class{i % 2}" / f"{i}.png")
    return folder


data = pictures()
files = sorted(data.rglob("*.png"))


def tokens(model, processor):
    out = []
    for f in files:
        with Image.open(f) as m:
            x = processor(m.convert("RGB"), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            out.append(model(x).last_hidden_state[0].numpy())
    return np.stack(out)


def processors(folder):
    for backend in ("pil", "torchvision"):
        try:
            yield backend, AutoImageProcessor.from_pretrained(folder, backend=backend)
        except ValueError:  # there is no Pillow version of this class
            pass


def check(what, folder, adapter=None):
    """Opens folder (with an adapter on it) in Python and compares with dmx embed."""
    global bad
    model, info = AutoModel.from_pretrained(folder, output_loading_info=True)
    problems = {k: sorted(v) for k, v in info.items() if v}
    prefix = 1 + getattr(model.config, "num_register_tokens", 0)
    family = type(model).__name__
    if adapter:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = peft.PeftModel.from_pretrained(model, adapter)
            warned = [str(w.message) for w in caught if "adapter" in str(w.message) or "missing" in str(w.message)]
        stored = {k for k in load_file(adapter / "adapter_model.safetensors")}
        held = set(peft.get_peft_model_state_dict(model))
        problems.update({k: v for k, v in (("missing_keys", held - stored), ("unexpected_keys", stored - held), ("warnings", warned)) if v})
    model.eval()
    error = {}
    with tempfile.TemporaryDirectory() as out:
        got = []
        for features in ("cls", "patches"):
            dmx("embed", "--model", folder, "--data", data, "--out", f"{out}/f.npy", "--features", features, "--restart",
                *(["--adapter", adapter] if adapter else []))
            got.append(np.load(f"{out}/f.npy"))
        for backend, processor in processors(folder):
            want = tokens(model, processor)
            error[backend] = max(np.abs(got[0] - want[:, 0]).max(), np.abs(got[1] - want[:, prefix:]).max())
    exact = error.get("pil", error["torchvision"])
    ok = not problems and exact <= TOLERANCE
    bad += not ok
    rows.append([what, family, "0" if not problems.get("missing_keys") else str(problems["missing_keys"]),
                 "0" if not problems.get("unexpected_keys") else str(problems["unexpected_keys"]),
                 f"{exact:.1e}", f"{error['torchvision']:.1e}", "yes" if ok else f"NO {problems}"])


def make(name, seed):
    from transformers import Dinov2Config, Dinov2WithRegistersConfig, DINOv3ViTConfig, ViTConfig
    small = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
    config = {
        "vit": ViTConfig(**small, intermediate_size=64, patch_size=8, image_size=32),
        "dinov2": Dinov2Config(**small, patch_size=14, image_size=70),
        "dinov2-swiglu": Dinov2Config(**small, patch_size=14, image_size=70, use_swiglu_ffn=True),
        "dinov2-registers": Dinov2WithRegistersConfig(**small, patch_size=14, image_size=56, num_register_tokens=4),
        "dinov3": DINOv3ViTConfig(**small, intermediate_size=64, patch_size=16, image_size=64),
        "dinov3-gated": DINOv3ViTConfig(**small, intermediate_size=64, image_size=64, use_gated_mlp=True, hidden_act="silu", num_register_tokens=4),
    }[name]
    folder = tmp / name
    randomise(AutoModel.from_config(config), seed).save_pretrained(folder)
    return folder, config


families = ("vit", "dinov2", "dinov2-swiglu", "dinov2-registers", "dinov3", "dinov3-gated")
for seed, name in enumerate(families):
    source, config = make(name, seed)
    patch = config.patch_size
    # dmx train: a few steps from these weights, the teacher of the last one.
    run = tmp / f"run-{name}"
    dmx("train", "--config", "dino", "--data", data, "--output", run, f"train.model_type={source}", "train.use_pretrained=true",
        "train.max_iterations=3", "train.saveckp_freq=3", "train.warmup_iterations=1", "train.global_batch_size=4", "train.lr=0.01",
        f"crops.global_crops_size={4 * patch}", f"crops.local_crops_size={2 * patch}", "crops.local_crops_number=1",
        "dino_head.out_dim=16", "dino_head.hidden_dim=16", "dino_head.bottleneck_dim=8",
        "train.freeze_last_layer=0", "train.warmup_teacher_temp_iterations=0", "train.generate_samples=false")
    teacher = sorted((run / "teacher_checkpoints").iterdir())[-1]
    check(f"dmx train on {name}: teacher", teacher)
    # dmx model convert: unchanged, in two shards, in half precision, and there and back through a foreign naming.
    dmx("model", "convert", source, "--to", "hf", "--out", tmp / f"{name}-hf")
    check(f"dmx model convert {name} --to hf", tmp / f"{name}-hf")
    foreign = {"vit": "dino", "dinov2": "dinov2", "dinov2-swiglu": "timm", "dinov2-registers": "dinov2"}.get(name, "dinov3")
    dmx("model", "convert", source, "--to", foreign, "--out", tmp / f"{name}.pth")
    dmx("model", "convert", tmp / f"{name}.pth", "--heads", "2", "--to", "hf", "--out", tmp / f"{name}-back",
        *(["--interpolation", "size"] if name.startswith("dinov2") and "registers" not in name else []))
    check(f"{name} --to {foreign} (.pth), then --to hf", tmp / f"{name}-back")
    # dmx adapter merge and extract.
    source = tmp / f"{name}-hf"  # with an image processor
    model = AutoModel.from_pretrained(source)
    targets = ["q_proj", "v_proj"]
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=8, target_modules=targets))
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for n, p in adapted.named_parameters():
            if "lora_" in n:
                p.copy_(torch.randn(p.shape, generator=g) * 0.1)
    adapted.save_pretrained(tmp / f"{name}-adapter")
    check(f"{name} with an adapter of peft", source, tmp / f"{name}-adapter")
    merged = tmp / f"{name}-merged"
    dmx("adapter", "merge", source, tmp / f"{name}-adapter", "--out", merged)
    check(f"dmx adapter merge {name}", merged)
    dmx("adapter", "extract", source, merged, "--rank", "4", "--out", tmp / f"{name}-extracted")
    check(f"dmx adapter extract {name}", source, tmp / f"{name}-extracted")

small = dict(embed_dim=24, depth=2, num_heads=2, num_classes=0, img_size=56)
for name, arch, kw in (
    ("timm UNI", "vit_large_patch16_224", dict(img_size=64, init_values=1e-5, dynamic_img_size=True)),
    ("timm UNI2-h", "vit_giant_patch14_224", dict(init_values=1e-5, mlp_ratio=2.66667 * 2, no_embed_class=True, mlp_layer=SwiGLUPacked,
                                                  act_layer=torch.nn.SiLU, reg_tokens=8, dynamic_img_size=True)),
    ("timm prov-gigapath", "vit_giant_patch14_dinov2", dict(img_size=64, patch_size=16, mlp_ratio=5.33334, dynamic_img_size=True)),
    ("timm Virchow", "vit_huge_patch14_224", dict(init_values=1e-5, mlp_ratio=5.3375, mlp_layer=SwiGLUPacked, act_layer=torch.nn.SiLU)),
    ("timm Virchow2", "vit_huge_patch14_224", dict(init_values=1e-5, mlp_ratio=5.3375, mlp_layer=SwiGLUPacked, act_layer=torch.nn.SiLU, reg_tokens=4)),
    ("timm H-optimus-0", "vit_giant_patch14_reg4_dinov2", dict(init_values=1e-5, dynamic_img_size=False)),
    ("timm DINOv3", "vit_small_patch16_dinov3_qkvb", dict(img_size=64)),
):
    kw = {**small, **kw}
    model = randomise(timm.create_model(arch, **kw), 7)
    folder = tmp / name.replace(" ", "-")
    folder.mkdir()
    side = kw["img_size"]
    save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": arch, "num_classes": 0, "model_args": {k: v for k, v in kw.items() if isinstance(v, (int, float, bool))},
        "pretrained_cfg": {"input_size": [3, side, side], "interpolation": "bicubic", "crop_pct": 1.0, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}))
    dmx("model", "convert", folder, "--to", "hf", "--out", tmp / f"{folder.name}-hf")
    check(f"{name} --to hf", tmp / f"{folder.name}-hf")
    # And back: timm loads strictly what dmx writes for it, and computes what transformers does.
    dmx("model", "convert", tmp / f"{folder.name}-hf", "--to", "timm", "--out", tmp / "timm.safetensors")
    again = timm.create_model(arch, **{**kw, **({"no_embed_class": True} if name == "timm Virchow2" else {})}).eval()
    again.load_state_dict(load_file(tmp / "timm.safetensors"), strict=True)
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours = AutoModel.from_pretrained(tmp / f"{folder.name}-hf").eval()(x).last_hidden_state
        error = max((again.forward_features(x) - model.forward_features(x)).abs().max().item(), (ours - model.forward_features(x)).abs().max().item())
    ok = error <= 2e-5
    bad += not ok
    rows.append([f"{name} --to hf, then --to timm", "timm", "0", "0", f"{error:.1e}", "", "yes" if ok else "NO"])

print("# Folders and files written by dmx, opened by Python\n")
print("Written by `python bench/hf/open_with_transformers.py --dmx DMX` with "
      f"transformers {transformers.__version__}, peft {peft.__version__}, timm {timm.__version__}, safetensors {safetensors.__version__}, torch {torch.__version__} on {platform.system()} {platform.machine()}, {datetime.date.today()}.\n")
print("Errors are the largest absolute difference of CLS and patch tokens between Python and `dmx embed` over "
      f"{len(files)} PNG images; \"torchvision\" is the same with the image processors that resize through torchvision. "
      "Rows of timm compare state dicts loaded with strict=True on random input.\n")
print("| written by | opened as | missing | unexpected | max abs error | torchvision | passed |\n|---|---|---|---|---|---|---|")
for r in rows:
    print("| " + " | ".join(r) + " |")
print(f"\n{len(rows)} checks, {bad} failed.")
shutil.rmtree(tmp)
sys.exit(bad > 0)
