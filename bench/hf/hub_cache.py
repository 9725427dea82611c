"""One Hugging Face cache, two programs: dmx fills it and huggingface_hub reads it, and the other way round.

Run: python hub_cache.py --dmx DMX > hub_cache.md

A server on this machine speaks the hub's protocol for one repository of random weights: metadata by HEAD, content of large
files by a redirect to another host, ranges. dmx downloads into an empty cache; scan_cache_dir and
snapshot_download(local_files_only=True) of huggingface_hub must find every file, offline, without a warning. Then
huggingface_hub downloads into another empty cache and dmx, offline, must load the model from it. The token must reach
the hub and nobody else. The exit code is 1 if a check fails.
"""
import argparse, datetime, hashlib, http.server, json, os, pathlib, platform, subprocess, sys, tempfile, threading

parser = argparse.ArgumentParser()
parser.add_argument("--dmx", required=True)
args = parser.parse_args()
tmp = pathlib.Path(tempfile.mkdtemp())
commit, token = "0123456789abcdef0123456789abcdef01234567", "hf_token_of_this_test"
results = []


def check(what, ok, detail=""):
    results.append((what, ok, detail))


from transformers import Dinov2Config, Dinov2Model, logging
logging.set_verbosity_error()
logging.disable_progress_bar()
source = tmp / "source"
Dinov2Model(Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, patch_size=14, image_size=56)).save_pretrained(source)
(source / "preprocessor_config.json").write_text('{"image_processor_type": "BitImageProcessor"}')
files = {p.name: p.read_bytes() for p in source.iterdir()}
large = "model.safetensors"  # the one that a hub keeps as an LFS file
tokens = {"hub": set(), "content": set()}


def etag(name):
    if name == large:
        return hashlib.sha256(files[name]).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(files[name]) + files[name]).hexdigest()


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, headers=(), body=b""):
        self.send_response(status)
        for k, v in headers:
            self.send_header(k, v)
        if not any(k == "Content-Length" for k, _ in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        where = "content" if self.server is content else "hub"
        tokens[where].add(self.headers.get("Authorization"))
        path = self.path.split("?")[0]
        if where == "hub" and path.startswith("/api/models/org/model"):
            entries = [{"rfilename": n} for n in files]
            if "/tree/" in path:
                entries = [{"type": "file", "path": n, "size": len(b), "oid": etag(n),
                            **({"lfs": {"oid": etag(n), "size": len(b), "pointerSize": 100}} if n == large else {})} for n, b in files.items()]
                return self.answer(200, [("Content-Type", "application/json")], json.dumps(entries).encode())
            return self.answer(200, [("Content-Type", "application/json")],
                               json.dumps({"id": "org/model", "sha": commit, "siblings": entries, "private": False, "tags": [], "downloads": 0, "likes": 0}).encode())
        name = path.rsplit("/", 1)[-1]
        if "/org/model/" not in path or name not in files:
            return self.answer(404, [("X-Error-Code", "EntryNotFound"), ("X-Repo-Commit", commit)])
        body, headers = files[name], [("X-Repo-Commit", commit), ("ETag", f'"{etag(name)}"'), ("Accept-Ranges", "bytes")]
        if where == "hub" and name == large:
            return self.answer(302, headers + [("X-Linked-Etag", f'"{etag(name)}"'), ("X-Linked-Size", str(len(body))),
                                               ("Location", f"http://localhost:{content.server_port}/org/model/{name}?signature=1")])
        if r := self.headers.get("Range"):
            begin = int(r.removeprefix("bytes=").split("-")[0])
            return self.answer(206, headers + [("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")], body[begin:])
        self.answer(200, headers + [("Content-Length", str(len(body)))], body)

    do_HEAD = do_GET


def serve():
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    return s


content, hub = serve(), serve()
base = {**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def run(command, **env):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, env={**base, **{k: str(v) for k, v in env.items()}})


# dmx first.
cache = tmp / "by-dmx"
r = run([args.dmx, "model", "inspect", "org/model"], HF_HUB_CACHE=cache)
check("dmx downloads org/model", r.returncode == 0, r.stderr.strip().replace("\n", "; "))
check("the token reaches the hub", f"Bearer {token}" in tokens["hub"])
check("the host of the content gets no token", tokens["content"] == {None}, str(tokens["content"]))
reader = """
import json, sys
from huggingface_hub import scan_cache_dir, snapshot_download
from transformers import AutoModel
i = scan_cache_dir()
d = snapshot_download("org/model", local_files_only=True)
_, info = AutoModel.from_pretrained("org/model", output_loading_info=True)
r = list(i.repos)
v = list(r[0].revisions)
print(json.dumps(dict(warnings=[str(w) for w in i.warnings], repos=[x.repo_id for x in r], files=sorted(f.file_name for f in v[0].files),
                      size=r[0].size_on_disk, commit=v[0].commit_hash, refs=sorted(v[0].refs), folder=d, loading={k: sorted(x) for k, x in info.items()})))
"""
r = run([sys.executable, "-c", reader], HF_HUB_CACHE=cache, HF_HUB_OFFLINE=1)
seen = json.loads(r.stdout.strip().splitlines()[-1]) if r.returncode == 0 else {}
check("huggingface_hub opens dmx's cache offline", r.returncode == 0, r.stderr.strip()[-300:] if r.returncode else "")
check("scan_cache_dir has no warning", seen.get("warnings") == [], str(seen.get("warnings")))
check("it finds the repository, the commit and the branch", (seen.get("repos"), seen.get("commit"), seen.get("refs")) == (["org/model"], commit, ["main"]), str((seen.get("repos"), seen.get("refs"))))
check("it finds every file dmx fetched", seen.get("files") == sorted(files), str(seen.get("files")))
check("snapshot_download(local_files_only=True) is that snapshot", seen.get("folder") == str(cache / "models--org--model" / "snapshots" / commit))
check("AutoModel loads it from there with no missing or unexpected key", not any(seen.get("loading", {"": 1}).values()), str(seen.get("loading")))
links = [p for p in (cache / "models--org--model" / "snapshots" / commit).iterdir()]
check("snapshots hold relative links to blobs named by their hash", all(p.is_symlink() and os.readlink(p) == f"../../blobs/{etag(p.name)}" for p in links))

# Python first.
cache = tmp / "by-python"
r = run([sys.executable, "-c", "from huggingface_hub import snapshot_download; print(snapshot_download('org/model'))"], HF_HUB_CACHE=cache)
check("huggingface_hub downloads org/model", r.returncode == 0, r.stderr.strip()[-300:] if r.returncode else "")
r = run([args.dmx, "model", "inspect", "org/model"], HF_HUB_CACHE=cache, HF_HUB_OFFLINE=1)
check("dmx opens Python's cache offline", r.returncode == 0 and "dinov2 (hf tensor names)" in r.stdout, r.stderr.strip())
before = sorted(str(p.relative_to(cache)) for p in cache.rglob("*"))
r = run([args.dmx, "model", "inspect", "org/model"], HF_HUB_CACHE=cache)
after = sorted(str(p.relative_to(cache)) for p in cache.rglob("*"))
check("dmx online downloads none of it again", r.returncode == 0 and before == after and "downloaded" not in r.stderr, str(set(after) ^ set(before)))
r = run([args.dmx, "model", "inspect", "org/absent"], HF_HUB_CACHE=cache, HF_HUB_OFFLINE=1)
check("a model in neither is an error that names the offline mode", r.returncode == 1 and "HF_HUB_OFFLINE" in r.stderr, r.stderr.strip())

import huggingface_hub
print("# The Hugging Face cache between dmx and Python\n")
print(f"Written by `python bench/hf/hub_cache.py --dmx DMX` with huggingface_hub {huggingface_hub.__version__} "
      f"on {platform.system()} {platform.machine()}, {datetime.date.today()}.\n")
print("| check | passed | detail |\n|---|---|---|")
for what, ok, detail in results:
    print(f"| {what} | {'yes' if ok else 'NO'} | {detail.replace(str(tmp), '…').replace('|', '/')} |")
failed = sum(not ok for _, ok, _ in results)
print(f"\n{len(results)} checks, {failed} failed.")
sys.exit(failed > 0)
