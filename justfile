# Recipes for https://just.systems. Every line also works when typed by hand.

# Everything the continuous integration runs.
ci:
    .ci/run

test:
    go test ./... -tags cpu

lint:
    gofmt -l .
    go vet -tags cpu ./...
    go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 -tags cpu ./...

# The binary, pure Go.
build:
    CGO_ENABLED=0 go build -tags cpu -trimpath -o dmx ./tools/dmx

# The small recipe on embedded images.
quickstart:
    go run -tags cpu ./tools/dmx train

# 1,000 malformed inputs through the real program paths.
bench-robust:
    go test ./tools/dmx -tags cpu -run Malformed -malformed 1000 -v

# Kill a run 20 times at random moments and compare its final weights with an unbroken one.
bench-resume:
    go run -tags cpu ./bench/resume


# The binary with GPU support: needs a C compiler, no CUDA toolkit; runs with and without an NVIDIA driver.
build-gpu:
    CGO_CFLAGS="-I$PWD/kernels/cuda/driver/include" go build -trimpath -o dmx ./tools/dmx

# PTX from the CUDA sources (clang-19).
ptx:
    go run -tags cpu ./kernels/cuda/gen

# Every shipped kernel on the interpreter, every case on three schedules; writes bench/emulation.md.
emulation:
    go test ./kernels/ptx -tags cpu -timeout 90m -args -emulation ../../bench/emulation.md

# Counters and predicted times of the kernels that move bytes, both versions; writes bench/movers.md.
movers:
    go test ./kernels/ptx -tags cpu -run MoversArePredicted -args -movers ../../bench/movers.md

# Registers, spills and shared memory of every kernel: just ptxas /path/to/ptxas
ptxas path:
    go run -tags cpu ./kernels/cuda/gen -ptxas {{path}} -table bench/ptxas.md

# Launches, changed commands and memory of DINOv2 steps of ViT-S/14 and ViT-B/14, counted on a device that computes nothing.
gpu-count:
    go test ./ssl -tags cpu -run DeviceMemory -large -v

# Programs that a machine with an NVIDIA driver, Python and PyTorch but no Go can run: outputs/gpu/visit.sh, check.sh, bench.sh.
gpu-build:
    mkdir -p outputs/gpu
    CGO_CFLAGS="-I$PWD/kernels/cuda/driver/include" go test -c -trimpath -ldflags='-s -w' -o outputs/gpu/driver.test ./kernels/cuda/driver
    CGO_CFLAGS="-I$PWD/kernels/cuda/driver/include" go test -c -trimpath -ldflags='-s -w' -o outputs/gpu/check.test ./bench/gpu/check
    CGO_CFLAGS="-I$PWD/kernels/cuda/driver/include" go build -trimpath -ldflags='-s -w' -o outputs/gpu/ ./bench/gpu ./tools/dmx
    mv outputs/gpu/gpu outputs/gpu/bench
    cp bench/gpu/*.sh bench/gpu/*.yaml outputs/gpu/

# Correctness of every kernel, of training and of resuming on the GPU of this machine.
gpu-check *args: gpu-build
    outputs/gpu/check.sh {{args}}

# Everything worth measuring on a GPU that is there for minutes, most valuable first: just gpu-visit --budget 240
gpu-visit *args: gpu-build
    outputs/gpu/visit.sh {{args}}

# Timings beside PyTorch on the GPU of this machine, into outputs/gpu/results/gpu.md: just gpu-bench -only gemm
gpu-bench *args: gpu-build
    outputs/gpu/bench.sh {{args}}

# Full Fashion-MNIST and CIFAR-10 on the GPU of this machine beside the CPU: just gpu-curves FASHION_MNIST_FOLDER CIFAR10_TAR
gpu-curves *args: gpu-build
    outputs/gpu/curves.sh {{args}}

# Model files against transformers, timm, peft and huggingface_hub: just bench-hf /path/to/python
bench-hf python: build
    go test ./nn/hf -tags cpu -run Parity -count=1 -parity "$PWD/bench/hf/parity.md"
    {{python}} bench/hf/open_with_transformers.py --dmx ./dmx > bench/hf/open_with_transformers.md
    go test ./ssl/eval -tags cpu -run ProcessorFields -count=1 -table "$PWD/bench/hf/processors.md"
    {{python}} bench/hf/hub_cache.py --dmx ./dmx > bench/hf/hub_cache.md
    go run -tags cpu ./bench/hf/load -python {{python}} -out bench/hf/load.md

# dmx embed against transformers; the folder holds one folder of JPEG images for every round.
bench-embed python images: build
    rm -f outputs/embed.jsonl && mkdir -p outputs
    {{python}} bench/hf/embed.py --dmx ./dmx --images {{images}} --record outputs/embed.jsonl
    {{python}} bench/hf/embed.py --report outputs/embed.jsonl > bench/hf/embed.md

# Ten minutes of fuzzing for every reader of model files.
fuzz-models:
    go test ./tensor/safetensors -tags cpu -run XXX -fuzz FuzzFile -fuzztime 10m -parallel 1
    go test ./tensor/safetensors -tags cpu -run XXX -fuzz FuzzIndex -fuzztime 10m -parallel 1
    go test ./nn/hf/pth -tags cpu -run XXX -fuzz FuzzPickle -fuzztime 10m -parallel 1
    go test ./nn/hf/pth -tags cpu -run XXX -fuzz FuzzZip -fuzztime 10m -parallel 1
    go test ./nn/hf -tags cpu -run XXX -fuzz 'FuzzConfig$' -fuzztime 10m -parallel 1
    go test ./nn/hf -tags cpu -run XXX -fuzz FuzzAdapterConfig -fuzztime 10m -parallel 1
    go test ./nn/hf -tags cpu -run XXX -fuzz FuzzProcessor -fuzztime 10m -parallel 1
    go test ./nn/hf -tags cpu -run XXX -fuzz FuzzOpen -fuzztime 10m -parallel 1
