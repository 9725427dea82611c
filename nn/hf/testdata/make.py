"""Writes the fixtures of package hf: tiny seeded models of every family and option with inputs, outputs and
gradients, as computed by transformers, timm, peft and Meta's own model code.

Run: python make.py [--meta DIR] [--only PREFIX]
PREFIX limits the work to fixtures whose names begin with it. DIR holds checkouts dino, dinov2, dinov3 of facebookresearch (7c446df, b8931f7 and 6876159 were used); without it
the Meta fixtures are left as they are. Versions used are recorded in versions.json.

Every folder has the model as its library saves it, and io.safetensors with what the tests compare:
  <call>.pixels  <call>.tokens  (<call>.masked: tokens with <call>.mask)  <call>.pooler  <call>.hidden.<i>  <call>.attention.<i>
  grad.<name>    gradient of Σ(tokens·cotangent) for call "train", cotangent
"""
import argparse, json, pathlib, shutil, sys, warnings, os
import torch
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
here = pathlib.Path(__file__).parent
parser = argparse.ArgumentParser()
parser.add_argument("--meta", type=pathlib.Path)
parser.add_argument("--only", default="")
args = parser.parse_args()
torch.set_num_threads(1)
os.chdir(here)


def randomise(model, seed):
    """Weights of useful size: activations stay O(1) and no parameter is near a value that hides mistakes."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim >= 2 and not any(s in name for s in ("token", "position", "pos_embed")):
                fan = p[0].numel()
                p.copy_(torch.randn(p.shape, generator=g) / fan**0.5)
            elif name.endswith("weight"):  # norms
                p.copy_(1 + 0.2 * torch.randn(p.shape, generator=g))
            elif "lambda1" in name or "gamma" in name:
                p.copy_(0.5 + torch.rand(p.shape, generator=g))
            else:
                p.copy_(0.3 * torch.randn(p.shape, generator=g))
    return model.eval()


def rand(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def write(out, io):
    save_file({k: v.detach().float().contiguous().clone() if v.dtype.is_floating_point else v.contiguous().clone() for k, v in io.items()},
              out / "io.safetensors")


def hf_case(name, model_class, config, sizes, mask=True, model_args={}, seed=1, grads=True, full=True):
    if not name.startswith(args.only):
        return
    out = here / name
    shutil.rmtree(out, ignore_errors=True)
    config._attn_implementation = "eager"
    model = randomise(model_class(config, **model_args), seed)
    model.save_pretrained(out)
    vit = config.model_type == "vit"
    io = {}
    for i, (h, w) in enumerate(sizes):
        call = "native" if i == 0 else f"size{h}x{w}"
        pixels = rand(10 + i, 2 if i == 0 and h * w < 4096 else 1, config.num_channels, h, w)
        kw = {"interpolate_pos_encoding": True} if vit and i > 0 else {}
        n = (h // config.patch_size) * (w // config.patch_size)
        if mask and i < 2:
            m = torch.rand(pixels.shape[0], n, generator=torch.Generator().manual_seed(30 + i)) < 0.4
            r = model(pixels, bool_masked_pos=m, **kw)
            io[f"{call}.mask"], io[f"{call}.masked"] = m.to(torch.uint8), r.last_hidden_state
        r = model(pixels, output_hidden_states=full and i == 0, output_attentions=full and i == 0, **kw)
        io[f"{call}.pixels"], io[f"{call}.tokens"] = pixels, r.last_hidden_state
        if r.pooler_output is not None:
            io[f"{call}.pooler"] = r.pooler_output
        if full and i == 0:
            for j, x in enumerate(r.hidden_states):
                io[f"{call}.hidden.{j}"] = x
            for j, x in enumerate(r.attentions):
                io[f"{call}.attention.{j}"] = x
    if grads:
        h, w = sizes[-1]
        pixels = rand(50, 1, config.num_channels, h, w)
        kw = {"interpolate_pos_encoding": True} if vit else {}
        if mask:
            n = (h // config.patch_size) * (w // config.patch_size)
            m = torch.rand(1, n, generator=torch.Generator().manual_seed(60)) < 0.4
            kw["bool_masked_pos"] = m
            io["train.mask"] = m.to(torch.uint8)
        r = model(pixels, **kw).last_hidden_state
        cotangent = rand(61, *r.shape)
        (r * cotangent).sum().backward()
        io["train.pixels"], io["train.cotangent"], io["train.tokens"] = pixels, cotangent, r
        # Published files keep the names that save_pretrained writes; gradients are stored under those too.
        saved = shutil.copytree(out, out.parent / (name + ".grad"), dirs_exist_ok=True)
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(p.grad if p.grad is not None else torch.zeros_like(p))
        model.save_pretrained(saved)
        from safetensors.torch import load_file
        for k, v in load_file(saved / "model.safetensors").items():
            io["grad." + k] = v
        shutil.rmtree(saved)
    write(out, io)


def make_hf():
    import transformers
    from transformers import (ViTConfig, ViTModel, Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig,
                              Dinov2WithRegistersModel, DINOv3ViTConfig, DINOv3ViTModel)
    small = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=2)
    hf_case("vit", ViTModel, ViTConfig(**small, intermediate_size=64, patch_size=8, image_size=32), [(32, 32), (48, 24), (56, 56)],
            model_args=dict(use_mask_token=True))
    hf_case("vit-nobias", ViTModel, ViTConfig(**small, intermediate_size=48, patch_size=16, image_size=48, qkv_bias=False,
            hidden_act="gelu_new", layer_norm_eps=1e-6), [(48, 48), (32, 64)], mask=False, model_args=dict(add_pooling_layer=False), full=False)
    hf_case("dinov2", Dinov2Model, Dinov2Config(**small, patch_size=14, image_size=56), [(56, 56), (42, 28), (28, 70)])
    hf_case("dinov2-swiglu", Dinov2Model, Dinov2Config(**small, patch_size=8, image_size=32, use_swiglu_ffn=True, mlp_ratio=3,
            use_mask_token=False), [(32, 32), (48, 40)], mask=False)
    hf_case("dinov2-registers", Dinov2WithRegistersModel, Dinov2WithRegistersConfig(**small, patch_size=16, image_size=64,
            num_register_tokens=4, qkv_bias=False), [(64, 64), (32, 48), (48, 48)])
    hf_case("dinov2-registers-swiglu", Dinov2WithRegistersModel, Dinov2WithRegistersConfig(**small, patch_size=14, image_size=56,
            num_register_tokens=1, use_swiglu_ffn=True), [(56, 56), (42, 28)], full=False)
    hf_case("dinov3", DINOv3ViTModel, DINOv3ViTConfig(**small, intermediate_size=64, image_size=64), [(64, 64), (32, 80)])
    hf_case("dinov3-gated", DINOv3ViTModel, DINOv3ViTConfig(**small, intermediate_size=48, image_size=64, use_gated_mlp=True,
            hidden_act="silu", num_register_tokens=4, query_bias=False, value_bias=False), [(64, 64), (48, 32)])
    hf_case("dinov3-gated-gelu", DINOv3ViTModel, DINOv3ViTConfig(**small, intermediate_size=48, image_size=64, use_gated_mlp=True,
            num_register_tokens=2), [(64, 64), (48, 32)], full=False)
    hf_case("dinov3-keybias", DINOv3ViTModel, DINOv3ViTConfig(**small, intermediate_size=64, image_size=32, key_bias=True,
            proj_bias=False, mlp_bias=False, num_register_tokens=2, patch_size=8, rope_theta=50.0), [(32, 32)], full=False)


def foreign_case(name, model, forward, sizes, channels=3, config=None, prefix=None, pth=False, seed=2):
    if not name.startswith(args.only):
        return
    out = here / name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    randomise(model, seed)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    if config is not None:
        (out / "config.json").write_text(json.dumps(config, indent=2))
    if pth:
        torch.save(prefix(state) if prefix else state, out / "checkpoint.pth")
    else:
        save_file(state, out / "model.safetensors")
    io = {}
    for i, (h, w) in enumerate(sizes):
        call = "native" if i == 0 else f"size{h}x{w}"
        pixels = rand(20 + i, 1, channels, h, w)
        with torch.no_grad():
            io[f"{call}.pixels"], io[f"{call}.tokens"] = pixels, forward(model, pixels)
    write(out, io)


def make_timm():
    import timm
    small = dict(embed_dim=24, depth=2, num_heads=2)
    forward = lambda m, x: m.forward_features(x)

    def case(name, arch, sizes, shown=None, **kw):
        model = timm.create_model(arch, num_classes=0, **{**small, **kw})
        shown = {k: v for k, v in {**small, **kw}.items() if isinstance(v, (int, float, bool, str))} if shown is None else shown
        foreign_case(name, model, forward, sizes, config={"architecture": arch, "num_classes": 0, "num_features": 24,
                     "global_pool": "token", "model_args": shown, "pretrained_cfg": {"input_size": [3, sizes[0][0], sizes[0][0]],
                     "interpolation": "bicubic", "crop_pct": 1.0, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}})

    case("timm-vit", "vit_small_patch16_224", [(32, 32)], img_size=32)
    case("timm-dinov2", "vit_base_patch14_dinov2", [(56, 56), (70, 42)], img_size=56, dynamic_img_size=True)
    case("timm-registers", "vit_base_patch14_reg4_dinov2", [(42, 42), (56, 28)], img_size=42, dynamic_img_size=True)
    from timm.layers import SwiGLUPacked
    case("timm-uni", "vit_large_patch16_224", [(32, 32), (48, 16)], img_size=32, init_values=1e-5, dynamic_img_size=True)
    case("timm-gigapath", "vit_giant_patch14_dinov2", [(32, 32)], img_size=32, patch_size=16, mlp_ratio=5.33334)
    case("timm-virchow", "vit_huge_patch14_224", [(28, 28)], img_size=28, init_values=1e-5, mlp_layer=SwiGLUPacked,
         act_layer=torch.nn.SiLU, mlp_ratio=5.3375)
    case("timm-hoptimus", "vit_giant_patch14_reg4_dinov2", [(28, 28)], img_size=28, init_values=1e-5, dynamic_img_size=False)
    case("timm-virchow2", "vit_huge_patch14_224", [(28, 28)], img_size=28, reg_tokens=4, init_values=1e-5,
         mlp_layer=SwiGLUPacked, act_layer=torch.nn.SiLU, mlp_ratio=5.3375)
    case("timm-uni2", "vit_giant_patch14_224", [(28, 28)], img_size=28, reg_tokens=8, init_values=1e-5, no_embed_class=True,
         mlp_layer=SwiGLUPacked, act_layer=torch.nn.SiLU, mlp_ratio=2.66667 * 2)
    case("timm-dinov3", "vit_small_patch16_dinov3_qkvb", [(64, 64), (32, 80)], shown=small, img_size=64)
    case("timm-dinov3-gated", "vit_small_plus_patch16_dinov3", [(32, 32), (48, 32)], shown=small, img_size=32)
    # The sizes behind the architecture names.
    names = ["vit_tiny_patch16_224", "vit_small_patch8_224", "vit_base_patch16_384", "vit_large_patch14_224", "vit_huge_patch14_224",
             "vit_giant_patch14_224", "vit_gigantic_patch14_224", "vit_small_patch14_dinov2", "vit_base_patch14_reg4_dinov2",
             "vit_large_patch14_dinov2", "vit_giant_patch14_reg4_dinov2", "vit_small_plus_patch16_dinov3", "vit_large_patch16_dinov3_qkvb",
             "vit_huge_plus_patch16_dinov3", "vit_7b_patch16_dinov3"]
    table = {}
    for n in names:
        with torch.device("meta"):
            m = timm.create_model(n, num_classes=0)
        table[n] = dict(dim=m.embed_dim, heads=m.blocks[0].attn.num_heads, patch=m.patch_embed.patch_size[0], image=m.patch_embed.img_size[0])
    (here / "timm-names.json").write_text(json.dumps(table, indent=1))


def make_meta(root):
    os.environ["XFORMERS_DISABLED"] = "1"
    for d in ("dino", "dinov2", "dinov3"):
        sys.path.insert(0, str(root / d))
    import vision_transformer as v1
    from functools import partial

    def tokens(m, x):
        x = m.prepare_tokens(x)
        for b in m.blocks:
            x = b(x)
        return m.norm(x)

    m = v1.VisionTransformer(img_size=[32], patch_size=8, embed_dim=24, depth=2, num_heads=2, mlp_ratio=2, qkv_bias=True,
                             norm_layer=partial(torch.nn.LayerNorm, eps=1e-6))
    # A full DINO v1 training checkpoint: both networks with wrapper prefixes and heads, and the run's state.
    full = lambda s: {"student": {"module.backbone." + k: v + 1 for k, v in s.items()},
                      "teacher": {**{"backbone." + k: v for k, v in s.items()}, "head.mlp.0.weight": torch.ones(2, 24)},
                      "epoch": 3, "args": argparse.Namespace(arch="vit_tiny")}
    foreign_case("meta-dino", m, tokens, [(32, 32), (48, 24)], prefix=full, pth=True)

    from dinov2.models.vision_transformer import DinoVisionTransformer as V2
    from dinov2.layers import NestedTensorBlock, MemEffAttention
    block = partial(NestedTensorBlock, attn_class=MemEffAttention)
    full2 = lambda m, x: (lambda r: torch.cat([r["x_norm_clstoken"][:, None], r["x_norm_regtokens"] if "x_norm_regtokens" in r else
                                              r["x_storage_tokens"], r["x_norm_patchtokens"]], 1))(m.forward_features(x))
    m = V2(img_size=56, patch_size=14, embed_dim=24, depth=4, num_heads=2, init_values=1e-5, block_chunks=2, block_fn=block)
    train = lambda s: {"teacher": {**{"backbone." + k: v for k, v in s.items()}, "dino_head.mlp.0.weight": torch.ones(2, 24)}}
    foreign_case("meta-dinov2-chunked", m, full2, [(56, 56), (42, 28)], prefix=train, pth=True)
    m = V2(img_size=56, patch_size=14, embed_dim=24, depth=2, num_heads=2, init_values=1e-5, block_chunks=0, ffn_layer="swiglufused",
           num_register_tokens=4, interpolate_antialias=True, interpolate_offset=0.0, block_fn=block)
    foreign_case("meta-dinov2-registers", m, full2, [(56, 56), (70, 28)], pth=True)

    from dinov3.models.vision_transformer import DinoVisionTransformer as V3
    # float32 periods: published files hold them rounded to bfloat16, which neither transformers nor timm follows.
    v3 = dict(img_size=64, patch_size=16, embed_dim=24, depth=2, num_heads=2, layerscale_init=1e-5, norm_layer="layernormbf16",
              mask_k_bias=True, pos_embed_rope_dtype="fp32", pos_embed_rope_normalize_coords="separate")
    for name, kw in (("meta-dinov3", dict(n_storage_tokens=4)), ("meta-dinov3-gated", dict(n_storage_tokens=0, ffn_layer="swiglu", ffn_ratio=3))):
        m = V3(**v3, **kw)
        m.init_weights()
        full3 = lambda m, x: (lambda r: torch.cat([r["x_norm_clstoken"][:, None], r["x_storage_tokens"], r["x_norm_patchtokens"]], 1))(m.forward_features(x))
        foreign_case(name, m, full3, [(64, 64), (32, 80)])


def make_peft():
    import peft
    from transformers import AutoModel, AutoModelForImageClassification
    from peft import LoraConfig, PeftModel, get_peft_model

    def case(name, base, auto=AutoModel, **kw):
        if not name.startswith(args.only):
            return
        out = here / name
        shutil.rmtree(out, ignore_errors=True)
        load = lambda: auto.from_pretrained("./" + base).eval()
        model = load()
        p = get_peft_model(model, LoraConfig(**kw))
        start = kw.get("init_lora_weights", True)
        g = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for n, w in p.named_parameters():
                if "lora_" in n:
                    noise = torch.randn(w.shape, generator=g) * 0.15
                    w.copy_(noise + (w if start in ("pissa", "olora") else 0))
                elif n.endswith(".bias") and kw.get("bias", "none") != "none" and w.requires_grad:
                    w.add_(0.1)
                elif "modules_to_save" in n:
                    w.add_(torch.randn(w.shape, generator=g) * 0.1)
        p.save_pretrained(out)
        (out / "README.md").unlink()
        p = PeftModel.from_pretrained(load(), out).eval()  # repeats what the start does to the base weights
        trunk = p.base_model.model if auto is AutoModel else getattr(p.base_model.model, model.base_model_prefix)
        size = model.config.image_size
        pixels = rand(70, 1, 3, size, size)
        with torch.no_grad():
            r = trunk(pixel_values=pixels)
        write(out, {"native.pixels": pixels, "native.tokens": r.last_hidden_state})

    case("peft-vit", "vit", r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])
    case("peft-dinov2", "dinov2", r=3, lora_alpha=12, use_rslora=True, target_modules=["q_proj", "v_proj", "fc1"], bias="lora_only",
         rank_pattern={"fc1": 2}, alpha_pattern={"encoder.layer.0.mlp.fc1": 5})
    case("peft-dinov3", "dinov3", r=4, lora_alpha=4, target_modules=["q_proj", "v_proj", "o_proj"], bias="all")
    case("peft-patch", "dinov2-registers", r=2, lora_alpha=2, target_modules=["projection", "k_proj"])
    # PEFT decomposes in float32, and an MLP would make its error larger than the bar.
    case("peft-pissa", "dinov2", r=3, lora_alpha=5, init_lora_weights="pissa", target_modules=["q_proj", "v_proj", "o_proj"])
    case("peft-olora", "dinov3", r=2, lora_alpha=3, init_lora_weights="olora", target_modules=["v_proj", "up_proj", "down_proj"])
    case("peft-layers", "dinov3", r=2, lora_alpha=4, target_modules=["q_proj", "k_proj", "o_proj"], layers_to_transform=[1],
         layers_pattern=["layer"], exclude_modules=["o_proj"], modules_to_save=["norm1"])
    case("peft-classifier", "dinov2", auto=AutoModelForImageClassification, r=2, lora_alpha=4, target_modules=["q_proj"],
         modules_to_save=["classifier", "layernorm"])


def make_odd():
    """Files that people take for weights, each for what its error says."""
    if not "odd".startswith(args.only):
        return
    import numpy as np
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
    out = here / "odd"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    d = 8
    state = {"cls_token": (1, 1, d), "pos_embed": (1, 5, d), "mask_token": (1, d), "patch_embed.proj.weight": (d, 1, 2, 2), "patch_embed.proj.bias": (d,)}
    for m, shape in {"norm1": (d,), "attn.qkv": (3 * d, d), "attn.proj": (d, d), "norm2": (d,), "mlp.fc1": (d, d), "mlp.fc2": (d, d)}.items():
        state[f"blocks.0.{m}.weight"], state[f"blocks.0.{m}.bias"] = shape, shape[:1]
    for n in ("blocks.0.ls1.gamma", "blocks.0.ls2.gamma", "norm.weight", "norm.bias"):
        state[n] = (d,)
    state = {k: rand(i, *s) for i, (k, s) in enumerate(state.items())}
    arrays = {k: v.numpy() for k, v in state.items()}
    torch.save(arrays, out / "numpy.pth")
    np.savez(out / "weights.npz", cls_token=arrays["cls_token"])
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(out / "script.pt"))
    torch.save({"_fsdp_wrapped_module._flat_param": torch.zeros(9)}, out / "flat.pth")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29533", RANK="0", WORLD_SIZE="1")
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (1,))
    whole = {k: distribute_tensor(v, mesh, [Replicate()]) for k, v in state.items()}
    torch.save({"model": whole, "iteration": 3}, out / "dtensor-whole.pth")
    # What one of two ranks would save: the full shape with half of the rows.
    half = {k: DTensor.from_local(v[: len(v) // 2] if len(v) > 1 else v[:0], mesh, [Shard(0)], run_check=False, shape=v.shape, stride=v.stride())
            for k, v in state.items()}
    torch.save({"model": half}, out / "dtensor.pth")
    dist.destroy_process_group()


make_hf()
make_timm()
if args.meta:
    make_meta(args.meta)
make_peft()
make_odd()
import peft, safetensors, timm, transformers
if not args.only:
    (here / "versions.json").write_text(json.dumps({m.__name__: m.__version__ for m in (torch, transformers, timm, peft, safetensors)}, indent=1))
