"""dmx embed against transformers on the same CPU, images and model: decoding, the model's own preprocessing and the
forward pass of a ViT-S/16, CLS features.

Run: python embed.py --dmx DMX --images DIR --record FILE [--rounds N]
     python embed.py --report FILE > embed.md

DIR holds a folder of JPEG images for every round. A round times both programs one after the other, in turned order
every second time, without their start: dmx is the time of the whole command less that of the same command on one image,
transformers runs from the first image on with the model loaded and warm. The transformers side
tries the ways to feed it that are worth trying on two cores, on the first round, and keeps the fastest.
"""
import argparse, datetime, json, os, pathlib, statistics, subprocess, sys, tempfile, time

parser = argparse.ArgumentParser()
parser.add_argument("--dmx")
parser.add_argument("--images", type=pathlib.Path)
parser.add_argument("--rounds", type=int, default=4)
parser.add_argument("--first", type=int, default=0, help="round to begin with")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--way", help="WORKERS,BATCH,PROCESSOR of the transformers side instead of trying")
parser.add_argument("--batch-size", type=int, default=32, help="of dmx")
parser.add_argument("--record", type=pathlib.Path, help="append one JSON object a round")
parser.add_argument("--about", default="JPEG images", help="what the images are, for the report")
parser.add_argument("--report", type=pathlib.Path, help="print the rounds recorded in this file as a table")
args = parser.parse_args()


def report(lines):
    tried, rows = [r for r in lines if "tried" in r], [r for r in lines if "round" in r]
    a, b = sum(r["images"] / r["dmx"] for r in rows), sum(r["images"] / r["transformers"] for r in rows)
    n = sum(r["images"] for r in rows)
    print("# Embedding images on the CPU\n")
    print(f"- Machine: {rows[0]['machine']}; {rows[0]['threads']} threads\n- Date: {rows[0]['date']}")
    print("- Command: `python bench/hf/embed.py --dmx DMX --images DIR --record FILE`, then `--report FILE`")
    print(f"- Peer: {rows[0]['versions']}\n")
    print(f"ViT-S/16 with random weights on {args.about}; decoding, the model's preprocessing to "
          "224 x 224 and the forward pass are in the time, starting and loading the model are not.\n")
    print("| round | images | dmx img/s | transformers img/s | dmx / transformers | start of dmx, s |\n|---|---|---|---|---|---|")
    for r in rows:
        print(f"| {r['round']} | {r['images']} | {r['dmx']:.1f} | {r['transformers']:.1f} | {r['ratio']:.2f} | {r['dmx_start']:.2f} |")
    print(f"| all | {n} | {n / a:.1f} | {n / b:.1f} | {b / a:.2f} (median {statistics.median(r['ratio'] for r in rows):.2f}) | |\n")
    print(f"The transformers side ran with {rows[0]['workers']} loader worker(s), batches of {rows[0]['batch']} and the {rows[0]['processor']} image processor, "
          "the fastest of what was tried on the first images:\n")
    print("| workers | batch | processor | img/s |\n|---|---|---|---|")
    for t in tried[-1:]:
        for w, b, p, v in sorted(t["tried"], key=lambda x: -x[3]):
            print(f"| {w} | {b} | {p} | {v:.1f} |")
    print(f"\nLargest difference of a CLS feature (of order 3) over {64 * len(rows)} images: {max(r['error'] for r in rows):.1e} against the Pillow processor, "
          "from the JPEG decoders, which round differently; on the same pictures as PNG it is below 1e-5 (open_with_transformers.md).")


if args.report:
    report([json.loads(line) for line in args.report.read_text().splitlines()])
    sys.exit()

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, ViTConfig, ViTImageProcessor, ViTModel

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(args.threads)


class Pictures(torch.utils.data.Dataset):
    def __init__(self, files, processor):
        self.files, self.processor = files, processor

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        with Image.open(self.files[i]) as m:
            return self.processor(m.convert("RGB"), return_tensors="pt")["pixel_values"][0]


def peer(model, processor, files, workers, batch):
    loader = torch.utils.data.DataLoader(Pictures(files, processor), batch_size=batch, num_workers=workers,
                                         worker_init_fn=lambda _: torch.set_num_threads(1))
    out = []
    with torch.inference_mode():
        for x in loader:
            out.append(model(x).last_hidden_state[:, 0])
    return torch.cat(out).numpy()


def dmx(model, folder, out):
    start = time.perf_counter()
    subprocess.run([args.dmx, "embed", "--model", model, "--data", folder, "--out", out, "--batch-size", str(args.batch_size), "--restart"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "GOMAXPROCS": str(args.threads)})
    return time.perf_counter() - start


def record(row):
    print(json.dumps(row), flush=True)
    if args.record:
        with args.record.open("a") as f:
            f.write(json.dumps(row) + "\n")


def machine():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.split(':')[1].strip()}, {os.cpu_count()} cores"
    return "unknown"


with tempfile.TemporaryDirectory() as tmp:
    tmp = pathlib.Path(tmp)
    torch.manual_seed(0)
    config = ViTConfig(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536, patch_size=16, image_size=224)
    ViTModel(config).save_pretrained(tmp / "model")
    ViTImageProcessor(size={"height": 224, "width": 224}, resample=3, image_mean=[0.485, 0.456, 0.406],
                      image_std=[0.229, 0.224, 0.225]).save_pretrained(tmp / "model")
    model = AutoModel.from_pretrained(tmp / "model").eval()
    processors = {"torchvision": AutoImageProcessor.from_pretrained(tmp / "model"),
                  "pil": AutoImageProcessor.from_pretrained(tmp / "model", backend="pil")}
    rounds = sorted(p for p in args.images.iterdir() if p.is_dir())
    one = tmp / "one"
    one.mkdir()
    first = sorted(rounds[0].iterdir())
    (one / first[0].name).write_bytes(first[0].read_bytes())

    if args.way:
        w, b, p = args.way.split(",")
        way = int(w), int(b), p
    else:
        tried = {}
        for p in processors:
            for w, b in ((0, 1), (0, 8), (0, 32), (1, 8), (1, 32), (2, 8), (2, 32)):
                peer(model, processors[p], first[:b], 0, b)
                start = time.perf_counter()
                peer(model, processors[p], first[:48], w, b)
                tried[w, b, p] = 48 / (time.perf_counter() - start)
        way = max(tried, key=tried.get)
        record(dict(tried=[[*k, v] for k, v in tried.items()]))
    workers, batch, backend = way
    for r in range(args.first, args.first + args.rounds):
        folder = rounds[r % len(rounds)]
        files = sorted(folder.iterdir())
        took = {}
        for who in ("dmx", "transformers")[:: 1 if r % 2 == 0 else -1]:
            if who == "dmx":
                empty = dmx(tmp / "model", one, tmp / "one.npy")
                took[who] = dmx(tmp / "model", folder, tmp / "features.npy") - empty
            else:
                peer(model, processors[backend], files[:batch], 0, batch)
                start = time.perf_counter()
                want = peer(model, processors[backend], files, workers, batch)
                took[who] = time.perf_counter() - start
        got = np.load(tmp / "features.npy")
        exact = peer(model, processors["pil"], files[:64], 0, 32)
        ours, theirs = (len(files) - 1) / took["dmx"], len(files) / took["transformers"]
        row = dict(round=r, date=str(datetime.date.today()), machine=machine(), threads=args.threads, images=len(files),
                   versions=f"transformers {transformers.__version__}, torch {torch.__version__}",
                   dmx=ours, dmx_start=empty, transformers=theirs, ratio=ours / theirs, workers=workers, batch=batch, processor=backend,
                   error=float(np.abs(got[:64] - exact).max()))
        record(row)
