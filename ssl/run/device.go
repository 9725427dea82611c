package run

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/kernels/cpu/gemm"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/cuda/driver"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/tensor"
)

// Device is where a run computes.
type Device struct {
	Backend kernels.Backend
	// DType is the working type: f32 on the CPU, bf16 (with f32 master weights) on a GPU.
	DType tensor.DType
	// Text says what it is, for the log.
	Text string

	peak   func() float64
	memory func() (used, total uint64) // of the device; nil where it is the process's
	close  func()
}

// Peak is the most floating-point operations a second in GFLOP/s: measured on the CPU, counted on a GPU.
func (d *Device) Peak() float64 { return d.peak() }

// Close gives the device back.
func (d *Device) Close() { d.close() }

// emulatedMemory is what the emulated GPU has: enough for micro models.
const emulatedMemory = 4 << 30

// OpenDevice opens a device by its name: cpu; cuda:N or cuda; emulated-cuda, which executes the GPU's kernels on
// the CPU, instruction by instruction; cpu-bf16, the CPU in the precision of a GPU, which shows what rounding alone does
// to a run; or auto, which is the first GPU if there is one and else the CPU.
func OpenDevice(name string) (*Device, error) {
	switch {
	case name == "auto" || name == "":
		if n, err := driver.Count(); err == nil && n > 0 {
			return openGPU(0)
		}
		return openCPU(), nil
	case name == "cpu":
		return openCPU(), nil
	case name == "cpu-bf16":
		d := openCPU()
		d.DType = tensor.BF16
		return d, nil
	case name == "emulated-cuda":
		b := cuda.New(ptx.NewDriver(emulatedMemory, 1), cuda.Versions{})
		// An emulated GPU has no speed worth a share of: MFU is that of the CPU it runs on.
		return &Device{Backend: b, DType: tensor.BF16, Text: b.Name() + " (interpreter, for tests: very slow)", peak: cpuPeak, memory: deviceMemory(b), close: func() {}}, nil
	case name == "cuda":
		return openGPU(0)
	case strings.HasPrefix(name, "cuda:"):
		if n, err := strconv.Atoi(name[len("cuda:"):]); err == nil {
			return openGPU(n)
		}
	}
	return nil, fmt.Errorf("--device: %q is none of auto, cpu, cuda:N (such as cuda:0), emulated-cuda", name)
}

func cpuPeak() float64 { return gemm.PeakGFLOPS(runtime.GOMAXPROCS(0)) }

func openCPU() *Device {
	b := cpu.New(cpu.Options{})
	return &Device{Backend: b, DType: tensor.F32, Text: fmt.Sprintf("%s on %d threads", b.Name(), b.Threads()),
		peak: func() float64 { return gemm.PeakGFLOPS(b.Threads()) }, close: b.Close}
}

func openGPU(index int) (*Device, error) {
	d, err := driver.Open(index)
	if err != nil {
		return nil, fmt.Errorf("--device cuda:%d: %w", index, err)
	}
	b := cuda.New(d, cuda.Versions{})
	if os.Getenv("DMX_CUDA_SYNC") == "1" {
		b.SyncEach()
	}
	info := b.Info()
	peak := cuda.PeakGFLOPS(info)
	return &Device{Backend: b, DType: tensor.BF16, Text: fmt.Sprintf("%s, %s, %d GiB", b.Name(), info.Name, info.TotalMemory>>30),
		peak: func() float64 { return peak }, memory: deviceMemory(b), close: func() { _ = b.Close() }}, nil
}

// deviceMemory tells what the backend holds and what its device has.
func deviceMemory(b *cuda.Backend) func() (used, total uint64) {
	return func() (used, total uint64) { return uint64(b.MemoryInUse()), uint64(b.Info().TotalMemory) }
}
