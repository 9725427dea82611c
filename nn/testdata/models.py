"""Writes models.json: outputs and gradients of micro models as transformers computes them, in float64.

Weights and inputs are not stored: element i of the tensor called NAME is a formula of both (see fill), which
nn/fixture_test.go repeats. Run: python models.py; made with the versions recorded in the file.
"""

import json
import math
import os
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (
    Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel,
    DINOv3ViTConfig, DINOv3ViTModel, ViTConfig, ViTModel,
)

torch.set_default_dtype(torch.float64)


def wave(name, n, step):
    start = sum(name.encode()) % 997
    return torch.tensor([math.sin(start + step * (i + 1)) for i in range(n)], dtype=torch.float64)


def fill(name, shape):
    values = 0.4 * wave(name, math.prod(shape), 0.7)
    if "norm" in name and name.endswith("weight") or "lambda1" in name:
        values = values * 0.5 + 1
    return values.reshape(shape)


def through_file(model, change):
    """Saves the model, changes the tensors of the file by their names there, and loads it again."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        path = os.path.join(folder, "model.safetensors")
        tensors = load_file(path)
        changed = {name: change(name, x) for name, x in tensors.items()}
        save_file(changed, path, metadata={"format": "pt"})
        kwargs = {"add_pooling_layer": False} if isinstance(model, ViTModel) else {}
        return type(model).from_pretrained(folder, attn_implementation="sdpa", dtype=torch.float64, **kwargs), changed


def run(model, config_name, height, width, masked, **kwargs):
    model, _ = through_file(model.double(), lambda name, x: fill(name, x.shape))
    model.train()
    rope = getattr(model, "rope_embeddings", None)
    if rope is not None:
        rope.inv_freq = 1 / rope.base ** torch.arange(0, 1, 4 / rope.head_dim)
    x = wave("pixels", 2 * 2 * height * width, 0.9).reshape(2, 2, height, width)
    patches = (height // 2) * (width // 2)
    if masked:
        mask = torch.zeros(2, patches, dtype=torch.bool)
        mask[0, 1] = mask[0, 4] = mask[1, 2] = True
        kwargs["bool_masked_pos"] = mask
    # The models compute positions in float32 by name; here everything is float64.
    single, torch.float32 = torch.float32, torch.float64
    y = model(x, **kwargs).last_hidden_state
    torch.float32 = single
    weight = wave("loss", y.numel(), 1.1).reshape(y.shape)
    (y * weight).sum().backward()
    for p in model.parameters():
        p.data = torch.zeros_like(p) if p.grad is None else p.grad
    _, grads = through_file(model, lambda name, x: x)
    return {
        "model": config_name, "height": height, "width": width, "masked": masked,
        "tokens": y.flatten().tolist(),
        "grads": {
            name: [float(g.norm()), float((g.flatten() * wave("probe", g.numel(), 1.3)).sum())]
            for name, g in sorted(grads.items()) if g.numel()
        },
    }


common = dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, num_channels=2, patch_size=2, image_size=6,
              attn_implementation="sdpa")
cases = [
    run(ViTModel(ViTConfig(intermediate_size=12, **common), add_pooling_layer=False), "vit", 6, 6, False),
    run(ViTModel(ViTConfig(intermediate_size=12, **common), add_pooling_layer=False), "vit", 8, 4, False,
        interpolate_pos_encoding=True),
    run(Dinov2Model(Dinov2Config(mlp_ratio=2, layer_norm_eps=1e-6, **common)), "dinov2", 4, 10, True),
    run(Dinov2Model(Dinov2Config(mlp_ratio=2, use_swiglu_ffn=True, layer_norm_eps=1e-6, **common)), "dinov2 gated", 6, 6, True),
    run(Dinov2WithRegistersModel(Dinov2WithRegistersConfig(mlp_ratio=2, num_register_tokens=3, layer_norm_eps=1e-6, **common)),
        "dinov2 with registers", 8, 4, True),
    run(DINOv3ViTModel(DINOv3ViTConfig(intermediate_size=12, num_register_tokens=2, pos_embed_rescale=None, **common)),
        "dinov3", 6, 4, True),
    run(DINOv3ViTModel(DINOv3ViTConfig(intermediate_size=12, num_register_tokens=0, pos_embed_rescale=None, use_gated_mlp=True,
                                       hidden_act="silu", query_bias=False, value_bias=False, **common)),
        "dinov3 gated", 4, 6, True),
]


def head(weight_norm):
    """The projection head of DINO: three layers with GELU, L2 normalisation, prototypes without bias."""
    layers = [torch.nn.Linear(6, 10), torch.nn.GELU(), torch.nn.Linear(10, 10), torch.nn.GELU(), torch.nn.Linear(10, 4)]
    mlp, last = torch.nn.Sequential(*layers), torch.nn.Linear(4, 9, bias=False)
    if weight_norm:
        last = torch.nn.utils.weight_norm(last)
    tensors = {f"mlp.{n}": p for n, p in mlp.named_parameters()} | {f"last_layer.{n}": p for n, p in last.named_parameters()}
    for name, p in tensors.items():
        p.data = 0.4 * wave(name, p.numel(), 0.7).reshape(p.shape)
    x = wave("tokens", 30, 0.9).reshape(5, 6)
    y = last(torch.nn.functional.normalize(mlp(x), dim=-1, p=2))
    (y * wave("loss", y.numel(), 1.1).reshape(y.shape)).sum().backward()
    return {
        "weight_norm": weight_norm, "logits": y.flatten().tolist(),
        "grads": {n: [float(p.grad.norm()), float((p.grad.flatten() * wave("probe", p.numel(), 1.3)).sum())]
                  for n, p in tensors.items()},
    }


path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models.json")
with open(path, "w") as f:
    json.dump({"torch": torch.__version__, "transformers": transformers.__version__, "cases": cases, "heads": [head(True), head(False)]}, f, indent=0)
