"""Every field of PEFT's LoraConfig, set to a value that is not its default: what PEFT computes and what dmx computes.

Run: python lora_config.py --dmx DMX > lora_config.md

For each value PEFT makes an adapter of a small random Dinov2 (with a classification head where the field needs one),
writes it, and loads it again. `dmx embed --adapter` gives CLS features of 4 PNG images, `dmx adapter merge` a folder
that transformers opens. Both are compared with the outputs of PEFT's loaded model. Where PEFT cannot make such an
adapter for a vision transformer, the value is written into an adapter_config.json by hand. The run fails when a field
of LoraConfig is not in the table, or when dmx gives other numbers without an error that names the field.
"""
import argparse, dataclasses, json, pathlib, platform, subprocess, sys, tempfile, warnings
import numpy as np
import peft, torch, transformers
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from transformers import AutoModel, BitImageProcessor, Dinov2Config, Dinov2ForImageClassification

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
parser = argparse.ArgumentParser()
parser.add_argument("--dmx", required=True)
args = parser.parse_args()
torch.set_num_threads(2)
BAR = 2e-5
work = pathlib.Path(tempfile.mkdtemp())
generator = torch.Generator().manual_seed(1)

base = work / "base"
model = Dinov2ForImageClassification(Dinov2Config(hidden_size=48, num_hidden_layers=3, num_attention_heads=3, patch_size=14, image_size=56, num_labels=3))
with torch.no_grad():
    for name, p in model.named_parameters():
        if p.ndim >= 2 and "embeddings" not in name:
            p.copy_(torch.randn(p.shape, generator=generator) / p.shape[1] ** 0.5)
        elif "lambda1" not in name:
            p.add_(torch.randn(p.shape, generator=generator) * 0.1)
model.save_pretrained(base)
processor = BitImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
processor.save_pretrained(base)
images = work / "images"
images.mkdir()
pictures = [Image.fromarray(torch.randint(0, 256, (56, 56, 3), generator=generator, dtype=torch.uint8).numpy()) for _ in range(4)]
for i, p in enumerate(pictures):
    p.save(images / f"{i}.png")
pixels = processor(pictures, return_tensors="pt")["pixel_values"]

# Each case: field, value, other fields; None where the value is set by hand in an ordinary adapter's config.
T = ["query", "value"] if hasattr(model.dinov2.encoder.layer[0].attention, "attention") else ["q_proj", "v_proj"]
Q = T[0]
cases = [
    ("r", 3, {}), ("lora_alpha", 20, {}), ("lora_dropout", 0.3, {}), ("use_rslora", True, {}),
    ("bias", "all", {}), ("bias", "lora_only", {}),
    ("target_modules", ["fc1", "fc2"], {}), ("target_modules", f".*layer\\.[02].*{Q}", {}), ("target_modules", "all-linear", {}),
    ("target_modules", ["projection"], {}),
    ("exclude_modules", ["fc1"], {"target_modules": T + ["fc1"]}), ("exclude_modules", f".*0.*{Q}", {}),
    ("modules_to_save", ["classifier"], {}), ("modules_to_save", ["layernorm", "norm2"], {}),
    ("layers_to_transform", [0, 2], {}), ("layers_to_transform", 1, {}),
    ("layers_pattern", "layer", {"layers_to_transform": [1]}), ("layers_pattern", ["blocks", "layer"], {"layers_to_transform": [2]}),
    ("rank_pattern", {Q: 2, f"layer.1.*{T[1]}": 5}, {}), ("alpha_pattern", {T[1]: 3.5}, {}),
    ("rank_pattern", {Q: 2}, {"use_rslora": True, "alpha_pattern": {"layer.1": 9, T[1]: 3}}),
    ("init_lora_weights", False, {}), ("init_lora_weights", "gaussian", {}), ("init_lora_weights", "orthogonal", {"r": 4}),
    ("init_lora_weights", "eva", {}), ("init_lora_weights", "mica", {}), ("init_lora_weights", "pissa", {}), ("init_lora_weights", "olora", {}),
    ("init_lora_weights", "pissa_niter_4", {}), ("init_lora_weights", "loftq", None),
    ("init_lora_weights", "corda", None), ("init_lora_weights", "lora_ga", None),
    ("use_dora", True, {}), ("lora_bias", True, {}), ("fan_in_fan_out", True, None),
    ("use_qalora", True, None), ("qalora_group_size", 8, {}),
    ("target_parameters", ["layer_scale1.lambda1"], None), ("layer_replication", [[0, 2], [1, 3]], None),
    ("trainable_token_indices", [0], None), ("alora_invocation_tokens", [1], None),
    ("megatron_config", {"a": 1}, None), ("megatron_core", "other.core", {}), ("arrow_config", {"top_k": 2}, None),
    ("use_bdlora", {"nblocks": 2, "target_modules_bd_a": T}, None), ("velora_config", {"num_groups": 2}, None),
    ("monteclora_config", {"num_samples": 2}, None), ("kasa_config", {"beta": 1e-3}, {}),
    ("loftq_config", {"loftq_bits": 4}, None), ("eva_config", {"rho": 1.5}, {"init_lora_weights": "eva"}),
    ("corda_config", {"corda_method": "kpm"}, None), ("lora_ga_config", {"direction": "ArBr"}, None),
    ("ensure_weight_tying", True, {}), ("runtime_config", {"ephemeral_gpu_offload": True}, None),
    ("task_type", "FEATURE_EXTRACTION", {}), ("task_type", "SEQ_CLS", {}), ("inference_mode", True, {}),
    ("revision", "main", {}), ("base_model_name_or_path", "someone/else", None), ("auto_mapping", {"base_model_class": "Dinov2Model"}, None),
    ("peft_version", "0.1.0", None), ("peft_type", "IA3", None), ("an_option_of_tomorrow", True, None),
]
missing = {f.name for f in dataclasses.fields(LoraConfig)} - {c[0] for c in cases}
if missing:
    sys.exit(f"fields of LoraConfig without a row: {sorted(missing)}")


def load(auto):
    return auto.from_pretrained(base, attn_implementation="eager").eval()


def make(out, kw, auto):
    p = get_peft_model(load(auto), LoraConfig(**kw))
    keep = str(kw.get("init_lora_weights", True)) in ("pissa", "olora", "orthogonal", "mica", "pissa_niter_4")
    with torch.no_grad():
        for name, w in p.named_parameters():
            noise = torch.randn(w.shape, generator=generator) * 0.1
            if "lora_" in name:
                w.copy_(noise + (w if keep else 0))
            elif w.requires_grad or "modules_to_save" in name:
                w.add_(noise)
    p.save_pretrained(out)


def peft_outputs(folder, auto):
    p = PeftModel.from_pretrained(load(auto), folder).eval()
    trunk = p.base_model.model if auto is AutoModel else p.base_model.model.dinov2
    with torch.no_grad():
        return trunk(pixel_values=pixels).last_hidden_state


def dmx(*command):
    r = subprocess.run([args.dmx, *map(str, command)], capture_output=True, text=True)
    return r.returncode, r.stderr.strip().splitlines()[-1] if r.stderr.strip() else ""


rows, failures = [], []
for n, (field, value, other) in enumerate(cases):
    adapter = work / f"adapter{n}"
    auto = Dinov2ForImageClassification if field in ("modules_to_save", "task_type") else AutoModel
    by_hand = other is None
    kw = {"r": 4, "lora_alpha": 6, "target_modules": T, **({} if by_hand else {field: value, **other})}
    peft_says, want = "", None
    try:
        make(adapter, kw, auto)
        if by_hand:
            config = json.loads((adapter / "adapter_config.json").read_text())
            config[field] = value
            (adapter / "adapter_config.json").write_text(json.dumps(config))
        want = peft_outputs(adapter, auto)
        again = peft_outputs(adapter, auto)
        peft_says = "loads it" if torch.equal(want, again) else f"loads it otherwise each time (by {(want - again).abs().max():.0e})"
        if value == "pissa":  # PEFT decomposes in float32; its own error would hide that of dmx
            peft32, svd = want, torch.linalg.svd
            torch.linalg.svd = lambda x, **k: tuple(t.float() for t in svd(x.double(), **k))
            want = peft_outputs(adapter, auto)
            torch.linalg.svd = svd
            peft_says = f"loads it; with its decomposition in float64, which is compared here, outputs differ by {(want - peft32).abs().max():.0e}"
    except Exception as e:
        peft_says = f"{type(e).__name__} on loading" if by_hand else f"{type(e).__name__}: {str(e).splitlines()[0][:60]}"
    if not (adapter / "adapter_config.json").exists():
        failures.append(f"{field}={value}: PEFT made no adapter: {peft_says}")
        continue
    code, said = dmx("embed", "--model", base, "--adapter", adapter, "--data", images, "--out", work / f"o{n}.npy")
    code2, said2 = dmx("adapter", "merge", base, adapter, "--out", work / f"merged{n}", "--allow-unexpected")
    cells = ["", ""]
    if code == 0 and code2 == 0:
        if want is None:
            verdict = "NOT REFUSED"
        else:
            got = torch.from_numpy(np.load(work / f"o{n}.npy"))
            with torch.no_grad():
                merged = AutoModel.from_pretrained(work / f"merged{n}").eval()(pixel_values=pixels).last_hidden_state
            errors = [(got - want[:, 0]).abs().max().item(), (merged - want).abs().max().item()]
            cells = [f"{e:.1e}" for e in errors]
            verdict = "equal" if max(errors) <= BAR else "DIFFERENT"
    elif code == 1 and code2 == 1 and field in said and field in said2:
        verdict = "refused by name"
        cells = [said.split("PEFT adapter: ")[-1][:110], ""]
    else:
        verdict = f"UNCLEAR: {said} / {said2}"
    if verdict not in ("equal", "refused by name"):
        failures.append(f"{field}={value}: {verdict} {cells}")
    shown = json.dumps(value) + ("" if not other else " with " + ", ".join(f"{k}={json.dumps(v)}" for k, v in other.items()))
    rows.append([f"`{field}`", f"`{shown}`", peft_says + (" (set by hand)" if by_hand else ""), *cells, verdict])

print(f"""# LoraConfig, field by field

Written by `python bench/hf/lora_config.py --dmx DMX` with peft {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__} on {platform.system()} {platform.machine()}.

Each field of PEFT's LoraConfig has a value that is not its default. Errors are the largest absolute differences from
PEFT's loaded model: CLS features of `dmx embed --adapter`, and all tokens of the folder that `dmx adapter merge` wrote,
opened by transformers (bar {BAR:g}). A refused option is an error of both commands that names the field.

| field | value | PEFT | dmx embed | dmx adapter merge | verdict |
|---|---|---|---|---|---|""")
for r in rows:
    print("| " + " | ".join(c.replace("|", "\\|") for c in r) + " |")
equal, refused = (sum(r[-1] == v for r in rows) for v in ("equal", "refused by name"))
print(f"\n{len(rows)} values of {len({r[0] for r in rows})} fields: {equal} equal, {refused} refused by name, {len(failures)} neither.")
if failures:
    sys.exit("\n".join(failures))
