"""safetensors and PyTorch as the other side of the loading benchmark: python peer.py FOLDER WAY THREADS

Prints "ready" when all is prepared that is not loading, and waits for a line. Then prints seconds, bytes of weights, the
peak of resident memory above the start and the growth of memory that is the process's own, in bytes.
"""
import pathlib
import sys
import time

import torch
from safetensors.torch import load_file

folder, way, threads = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads)
if way == "version":
    import safetensors
    import transformers
    print(f"safetensors {safetensors.__version__}, torch {torch.__version__}, transformers {transformers.__version__}")
    sys.exit()

from transformers import AutoModel, Dinov2Config, logging

logging.set_verbosity_error()
logging.disable_progress_bar()


def memory(key):
    for line in open("/proc/self/status"):
        if line.startswith(key + ":"):
            return int(line.split()[1]) << 10


# What is imported and prepared on first use is not loading.
if way == "from_pretrained":
    small = Dinov2Config(num_hidden_layers=1, hidden_size=16, num_attention_heads=1, image_size=28, use_swiglu_ffn=True)
    small_folder = folder / "small"
    AutoModel.from_config(small).save_pretrained(small_folder)
    AutoModel.from_pretrained(small_folder)

print("ready", flush=True)
sys.stdin.readline()
open("/proc/self/clear_refs", "w").write("5")  # the peak of resident memory starts again
before, own = memory("VmRSS"), memory("RssAnon")
start = time.perf_counter()
if way == "copied":
    # What load_state_dict does: every tensor is copied into a parameter of the type the model computes in.
    params = []
    for v in load_file(folder / "model.safetensors").values():
        params.append(torch.empty(v.shape).copy_(v))
elif way == "mapped":
    params = list(load_file(folder / "model.safetensors").values())
else:
    params = list(AutoModel.from_pretrained(folder, dtype=torch.float32).parameters())
if memory("RssAnon") - own < sum(p.numel() * p.element_size() for p in params) // 2:
    # The tensors are views of the mapped file; every page is touched once, as the first use would.
    for v in params:
        v.detach().view(-1).view(torch.uint8)[::4096].sum()
seconds = time.perf_counter() - start
peak, own = memory("VmHWM") - before, memory("RssAnon") - own
weights = sum(p.numel() * p.element_size() for p in params)
print(seconds, weights, peak, own)
