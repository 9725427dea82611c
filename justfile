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

# Registers, spills and shared memory of every kernel: just ptxas /path/to/ptxas
ptxas path:
    go run -tags cpu ./kernels/cuda/gen -ptxas {{path}} -table bench/ptxas.md

# Launches, changed commands and memory of DINOv2 steps of ViT-S/14 and ViT-B/14, counted on a device that computes nothing.
gpu-count:
    go test ./ssl -tags cpu -run DeviceMemory -large -v

# Built test binaries that a machine with a GPU and no Go can run.
gpu-build:
    mkdir -p outputs/gpu
    CGO_CFLAGS="-I$PWD/kernels/cuda/driver/include" go test -c -o outputs/gpu/driver.test ./kernels/cuda/driver

# Correctness of every kernel on the GPU of this machine.
gpu-check: gpu-build
    outputs/gpu/driver.test -test.run Device -test.v

# Timings of every kernel on the GPU of this machine.
gpu-bench: gpu-build
    outputs/gpu/driver.test -test.run XXX -test.bench Device
