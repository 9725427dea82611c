"""Checkpoints as people save them: every family of models under wrappers, pairs of prefixes and containers.

Run: python checkpoints.py --dmx DMX > checkpoints.md

Small random models of each family are made by transformers and timm. Each is written in many forms, and `dmx embed`
reads it. Its CLS features of 3 images are compared with those of the library that made the model (bar 2e-5). Where a file
holds two trunks, the other one has other weights, so that taking the wrong one shows. The last table has files that
must not load: each must give an error that names what the file is. The run fails when a row is neither.
"""
import argparse, collections, json, os, pathlib, platform, shutil, subprocess, sys, tempfile, warnings
import numpy as np
import timm, torch, transformers
from PIL import Image
from safetensors.torch import save_file
from transformers import (BitImageProcessor, Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig,
                          Dinov2WithRegistersModel, DINOv3ViTConfig, DINOv3ViTModel, ViTConfig, ViTModel)

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
parser = argparse.ArgumentParser()
parser.add_argument("--dmx", required=True)
parser.add_argument("--only", default="", help="forms whose name holds this text")
args = parser.parse_args()
torch.set_num_threads(2)
BAR = 2e-5
work = pathlib.Path(tempfile.mkdtemp())
g = torch.Generator().manual_seed(3)

# All models see the same 224 x 224 pixels with ImageNet's statistics. Of a bare weight file dmx assumes the preprocessing
# of the family's published models, which is a centre crop out of 256 or the picture resized to 224; each is given the
# pictures that it leaves alone.
images, square = work / "images", work / "square"
images.mkdir()
square.mkdir()
pictures = [torch.randint(0, 256, (256, 256, 3), generator=g, dtype=torch.uint8) for _ in range(3)]
for i, p in enumerate(pictures):
    Image.fromarray(p.numpy()).save(images / f"{i}.png")
    Image.fromarray(p[16:240, 16:240].numpy()).save(square / f"{i}.png")
mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
pixels = torch.stack([((p[16:240, 16:240].double() / 255 - mean) / std).float().permute(2, 0, 1) for p in pictures])


def randomise(model):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim >= 2 and not any(s in name for s in ("token", "position", "pos_embed")):
                p.copy_(torch.randn(p.shape, generator=g) / p[0].numel() ** 0.5)
            elif "lambda1" in name or "gamma" in name:
                p.copy_(0.5 + torch.rand(p.shape, generator=g))
            elif name.endswith("weight"):
                p.copy_(1 + 0.2 * torch.randn(p.shape, generator=g))
            else:
                p.copy_(0.3 * torch.randn(p.shape, generator=g))
    return model.eval()


def meta_names(state, v1):
    """Hugging Face names to those of Meta's DINO (v1) and DINOv2 code."""
    out = {}
    for k, v in state.items():
        k = k.replace("embeddings.patch_embeddings.projection", "patch_embed.proj").replace("embeddings.position_embeddings", "pos_embed")
        k = k.replace("embeddings.", "").replace("encoder.layer.", "blocks.").replace("layernorm_before", "norm1").replace("layernorm_after", "norm2")
        k = k.replace("attention.output.dense", "attn.proj").replace("intermediate.dense", "mlp.fc1").replace(".output.dense", ".mlp.fc2")
        k = k.replace("layer_scale1.lambda1", "ls1.gamma").replace("layer_scale2.lambda1", "ls2.gamma").replace("layernorm.", "norm.")
        k = k.replace("weights_in", "w12").replace("weights_out", "w3")
        if ".attention.attention." in k:
            block, rest = k.split(".attention.attention.")
            which, kind = rest.split(".")
            parts = out.setdefault(f"{block}.attn.qkv.{kind}", {})
            parts[which] = v
            continue
        if k.startswith("pooler") or v1 and k == "mask_token":
            continue
        out[k] = v
    return {k: torch.cat([v["query"], v["key"], v["value"]]) if isinstance(v, dict) else v for k, v in out.items()}


small = dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, image_size=224)


def hf(model):
    folder = work / "saved"
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    from safetensors.torch import load_file
    return load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())


def make(name):
    """state dict, config.json or None, and a function of pixels to CLS features."""
    kind, _, naming = name.partition(" as ")
    if kind.startswith("timm "):
        small_timm = dict(embed_dim=128, depth=2, num_heads=2, img_size=224)
        arch = kind[5:]
        m = randomise(timm.create_model(arch, num_classes=0, **small_timm))
        config = {"architecture": arch, "num_classes": 0, "model_args": small_timm, "pretrained_cfg": {
            "input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.875, "mean": mean.tolist(), "std": std.tolist()}}
        return {k: v.clone() for k, v in m.state_dict().items()}, config, lambda x: m.forward_features(x)[:, 0]
    m = {
        "vit": lambda: ViTModel(ViTConfig(**small, intermediate_size=256, patch_size=16, layer_norm_eps=1e-6)),
        "dinov2": lambda: Dinov2Model(Dinov2Config(**small, patch_size=14)),
        "dinov2 SwiGLU": lambda: Dinov2Model(Dinov2Config(**small, patch_size=14, use_swiglu_ffn=True)),
        "dinov2_with_registers": lambda: Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**small, patch_size=14)),
        "dinov3_vit": lambda: DINOv3ViTModel(DINOv3ViTConfig(**small, intermediate_size=256, num_register_tokens=4)),
        "dinov3_vit gated": lambda: DINOv3ViTModel(DINOv3ViTConfig(**small, intermediate_size=256, use_gated_mlp=True, hidden_act="silu", num_register_tokens=2)),
        "dinov3_vit gated gelu": lambda: DINOv3ViTModel(DINOv3ViTConfig(**small, intermediate_size=256, use_gated_mlp=True, num_register_tokens=2)),
    }[kind]()
    randomise(m)
    state, config = hf(m)
    if naming:
        state, config = meta_names(state, naming == "DINO"), None
    return state, config, lambda x: m(pixel_values=x).last_hidden_state[:, 0]


def block_wrapper(word, state):
    out = {}
    for k, v in state.items():
        parts = k.split(".")
        at = next((i for i, p in enumerate(parts) if p.isdigit()), None)
        out[k if at is None else ".".join(parts[:at + 1] + [word] + parts[at + 1:])] = v
    return out


def prefix(p, state):
    return {p + k: v for k, v in state.items()}


def other(state):
    return {k: torch.randn(v.shape, generator=g) if v.dtype.is_floating_point else v for k, v in state.items()}


def linear_base(state):
    """PEFT's names of adapted layers, with nothing beside them."""
    return {k.replace("query.", "query.base_layer.").replace("q_proj.", "q_proj.base_layer.").replace("qkv.", "qkv.base_layer."): v for k, v in state.items()}


args_space = argparse.Namespace(lr=1e-3, arch="vit")
head = lambda: {"head.mlp.0.weight": torch.randn(8, 128), "head.last_layer.weight_v": torch.randn(8, 8)}
# Each form: name, container, function of a state dict, further arguments of dmx embed.
forms = [
    ("state dict", "pth", lambda s: s, []),
    ("state dict", "safetensors file", lambda s: s, []),
    ("folder", "safetensors", lambda s: s, []),
    ("folder", "shards", lambda s: s, []),
    ("folder", "pytorch_model.bin", lambda s: s, []),
    ("training dict: model, optimizer, iteration, args", "pth",
     lambda s: {"model": s, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]}, "iteration": torch.tensor(7), "args": args_space}, []),
    ("Lightning: state_dict.model.backbone, hyper_parameters", "pth",
     lambda s: {"state_dict": prefix("model.backbone.", s), "hyper_parameters": {"lr": 0.1}, "epoch": 3, "pytorch-lightning_version": "2.1"}, []),
    ("DDP (module.) with a head and a number", "pth", lambda s: {**prefix("module.backbone.", s), **prefix("module.", head()), "iteration": torch.tensor(7)}, []),
    ("torch.compile of the whole (_orig_mod.)", "safetensors file", lambda s: prefix("_orig_mod.", s), []),
    ("torch.compile of blocks", "pth", lambda s: block_wrapper("_orig_mod", s), []),
    ("activation checkpointing of blocks", "pth", lambda s: prefix("backbone.", block_wrapper("_checkpoint_wrapped_module", s)), []),
    ("FSDP (_fsdp_wrapped_module)", "pth", lambda s: {"model": prefix("_fsdp_wrapped_module.", block_wrapper("_fsdp_wrapped_module", s)), "step": 4}, []),
    ("PEFT's base_layer", "pth", lambda s: prefix("base_model.model.", linear_base(s)), []),
    ("pair student / teacher", "pth", lambda s: {"student": {**prefix("module.backbone.", other(s)), **prefix("module.", head())}, "teacher": prefix("backbone.", s), "epoch": 2}, []),
    ("pair student_… / teacher_…", "pth", lambda s: {"state_dict": {**prefix("student_embedding_model._model.", other(s)), **prefix("teacher_embedding_model._model.", s),
                                                              "student_projection_head.layers.0.weight": torch.zeros(3, 3)}}, []),
    ("pair backbone / momentum_backbone", "safetensors file", lambda s: {**prefix("backbone.", other(s)), **prefix("momentum_backbone.", s), "projector.0.weight": torch.zeros(3, 3)},
     ["--branch", "momentum_backbone"]),
    ("pair model / model_ema", "pth", lambda s: {"model": other(s), "model_ema": s, "scaler": {"scale": 2.0}}, ["--branch", "model_ema"]),
    ("pair encoder_q / encoder_k", "pth", lambda s: {"state_dict": {**prefix("module.encoder_q.", s), **prefix("module.encoder_k.", other(s)), "module.queue": torch.zeros(3, 9)}},
     ["--branch", "encoder_q"]),
]
families = ["vit", "vit as DINO", "dinov2", "dinov2 as DINOv2", "dinov2 SwiGLU as DINOv2", "dinov2_with_registers", "dinov3_vit", "dinov3_vit gated",
            "dinov3_vit gated gelu", "timm vit_base_patch16_224", "timm vit_base_patch14_dinov2", "timm vit_base_patch14_reg4_dinov2", "timm vit_small_patch16_dinov3_qkvb"]


def write(container, tree, config, out):
    out.mkdir()
    flat = {k: v.contiguous() for k, v in tree.items()} if all(torch.is_tensor(v) for v in tree.values()) else None
    file = out / "model.safetensors"
    if container == "pth":
        file = out / "checkpoint.pth"
        torch.save(tree, file)
    elif container == "safetensors file":
        file = out / "weights.safetensors"
        save_file(flat, file)
    else:
        (out / "config.json").write_text(json.dumps(config))
        if "model_type" in config:
            BitImageProcessor(size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224}, image_mean=mean.tolist(), image_std=std.tolist()).save_pretrained(out)
        if container == "pytorch_model.bin":
            torch.save(flat, out / container)
        elif container == "shards":
            names = sorted(flat)
            index = {}
            for i in range(3):
                shard = f"model-{i + 1:05d}-of-00003.safetensors"
                save_file({n: flat[n] for n in names[i::3]}, out / shard, metadata={"format": "pt"})
                index.update({n: shard for n in names[i::3]})
            (out / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
        else:
            save_file(flat, file, metadata={"format": "pt"})
        return out
    return file


def embed(path, more, images=images):
    out = work / "out.npy"
    out.unlink(missing_ok=True)
    r = subprocess.run([args.dmx, "embed", "--model", str(path), "--data", str(images), "--out", str(out), "--restart", *more], capture_output=True, text=True)
    last = r.stderr.strip().splitlines()[-1] if r.stderr.strip() else ""
    return (torch.from_numpy(np.load(out)) if r.returncode == 0 else None), r.returncode, last


rows, failures, count = collections.OrderedDict(), [], 0
for family in families:
    for name, container, tree, more in forms:
        if args.only not in name + container + family:
            continue
        state, config, forward = make(family)
        if name == "folder" and config is None:
            continue
        # An activation is in the config alone.
        if family == "dinov3_vit gated gelu" and name != "folder":
            continue
        with torch.no_grad():
            want = forward(pixels)
        count += 1
        got, code, said = embed(write(container, tree(state), config, work / f"c{count}"), more,
                                square if name != "folder" and any(w in family for w in ("vit", "dinov3")) and "patch14" not in family else images)
        if got is None:
            cell = f"rc {code}: {said}"
            failures.append(f"{family}, {name}, {container}: {cell}")
        else:
            e = (got - want).abs().max().item()
            cell = f"{e:.1e}"
            if not e <= BAR:
                failures.append(f"{family}, {name}, {container}: {cell}")
        rows.setdefault((name, container, " ".join(more)), {})[family] = cell
        shutil.rmtree(work / f"c{count}")

# What must be an error that names the file for what it is.
state, config, _ = make("dinov2 as DINOv2")
hf_state, hf_config, _ = make("dinov2")
odd = work / "odd"
odd.mkdir()
pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 346345912\n"
named = []


def case(what, path, *words, more=()):
    named.append((what, path, words, list(more)))


def save(tree, name):
    torch.save(tree, odd / name)
    return odd / name


def text(name, content):
    (odd / name).parent.mkdir(exist_ok=True)
    (odd / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return odd / name


case("Git LFS pointer, .pth", text("lfs.pth", pointer), "Git LFS pointer", "git lfs pull")
(odd / "lfs").mkdir()
(odd / "lfs" / "config.json").write_text(json.dumps(hf_config))
text("lfs/model.safetensors", pointer)
case("Git LFS pointer in a model folder", odd / "lfs", "Git LFS pointer", "git lfs pull")
case("a web page", text("page.safetensors", "<!DOCTYPE html><html></html>"), "web page")
case("a server's error message", text("error.pth", '{"error":"Entry not found"}'), "error message")
case("an empty file", text("empty.pth", ""), "empty file")
case("a file cut in half", text("cut.pth", save(state, "whole.pth").read_bytes()[:20000]), "not a valid zip file")
case("numpy arrays in torch.save", save({k: v.numpy() for k, v in state.items()}, "numpy.pth"), "NumPy array", "from_numpy")
np.savez(odd / "weights.npz", **{k: v.numpy() for k, v in state.items()})
case("numpy.savez", odd / "weights.npz", "NumPy archive")
torch.save(state, odd / "legacy.pth", _use_new_zipfile_serialization=False)
case("torch.save before 1.6", odd / "legacy.pth", "bare pickle")
torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(odd / "script.pt"))
case("TorchScript", odd / "script.pt", "TorchScript")
case("a whole pickled module", save(Dinov2Model(Dinov2Config(**small, patch_size=14)), "module.pth"), "Dinov2Model", "state dict")
case("FSDP flat parameters", save({"_fsdp_wrapped_module._flat_param": torch.zeros(9)}, "flat.pth"), "FSDP")
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29541", RANK="0", WORLD_SIZE="1")
torch.distributed.init_process_group("gloo")
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard
mesh = init_device_mesh("cpu", (1,))
half = {k: DTensor.from_local(v[: len(v) // 2], mesh, [Shard(0)], run_check=False, shape=v.shape, stride=v.stride()) for k, v in state.items()}
case("DTensors of one rank", save({"model": half}, "dtensor.pth"), "DTensor", "full_state_dict")
torch.distributed.checkpoint.save({"model": state}, checkpoint_id=str(odd / "dcp"))
case("a .distcp folder", odd / "dcp", "distributed checkpoint", "dcp_to_torch")
torch.distributed.destroy_process_group()
case("no vision transformer", save({"conv1.weight": torch.zeros(3, 3, 7, 7)}, "resnet.pth"), "no vision transformer")
case("two trunks, none chosen", save({"a": state, "b": state}, "two.pth"), "choose one with --branch", "a (names", "b (names")
case("fc_norm in place of the norm", save({k.replace("norm.", "fc_norm.") if k.startswith("norm.") else k: v for k, v in state.items()}, "fc_norm.pth"),
     "fc_norm", "not supported", more=("--allow-missing", "--allow-unexpected"))
case("untied norms", save({**state, "cls_norm.weight": torch.ones(128), "cls_norm.bias": torch.ones(128)}, "untied.pth"), "untie_cls_and_patch_norms", more=("--allow-unexpected",))
case("a distillation token", save({**state, "dist_token": torch.ones(1, 1, 128)}, "dist.pth"), "distillation token", more=("--allow-unexpected",))
case("norms of queries and keys", save({**state, "blocks.0.attn.q_norm.weight": torch.ones(64)}, "qk.pth"), "norm of queries", more=("--allow-unexpected",))
case("LoRA beside base weights", save({**linear_base(state), "blocks.0.attn.qkv.lora_A.default.weight": torch.zeros(2, 128)}, "lora.pth"), "LoRA", "merge_and_unload", more=("--allow-unexpected",))
case("a missing tensor", save({k: v for k, v in state.items() if k != "blocks.1.attn.qkv.weight"}, "missing.pth"), "missing: encoder.layer.1")
case("a NaN weight", save({**state, "norm.weight": torch.full((128,), float("nan"))}, "nan.pth"), "layernorm.weight", "NaN")
case("a PEFT adapter as the model", text("adapter/adapter_config.json", '{"peft_type":"LORA","target_modules":["query"]}').parent, "PEFT adapter")

outcome = []
for what, path, words, more in named:
    got, code, said = embed(path, more)
    good = code == 1 and all(w in said for w in words)
    if not good:
        failures.append(f"{what}: rc {code}: {said}")
    outcome.append((what, " ".join(more), said.replace(str(odd) + "/", "").removeprefix("dmx: ")[:170], "named" if good else "NOT NAMED"))

print(f"""# Checkpoints as people save them

Written by `python bench/hf/checkpoints.py --dmx DMX` with transformers {transformers.__version__}, timm {timm.__version__}, torch {torch.__version__} on {platform.system()} {platform.machine()}.

Largest absolute differences of CLS features (of order one) between `dmx embed` and the library that made the model, over
3 images of 224 x 224 (bar {BAR:g}). "as DINO" and "as DINOv2" are the tensor names of Meta's repositories.

## {count} files that load

| form | container | options | {" | ".join(families)} |
|---|---|---|{"---|" * len(families)}""")
for (name, container, more), cells in rows.items():
    print(f"| {name} | {container} | {f'`{more}`' if more else ''} | " + " | ".join(cells.get(f, "") for f in families) + " |")
print(f"\n## {len(named)} files that are named\n\n| file | options | error | verdict |\n|---|---|---|---|")
for what, more, said, verdict in outcome:
    print(f"| {what} | {f'`{more}`' if more else ''} | {said.replace('|', '/')} | {verdict} |")
print(f"\n{count + len(named)} checkpoints: {count + len(named) - len(failures)} right, {len(failures)} wrong.")
shutil.rmtree(work)
if failures:
    sys.exit("\n".join(failures))
