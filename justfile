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
