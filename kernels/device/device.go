package device

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/kernels/cpu/gemm"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/cuda/driver"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/tensor"
)

// Device is an open device and the backend that computes on it.
type Device struct {
	Backend kernels.Backend
	// DType is the working type: f32 on the CPU, bf16 (with f32 master weights) on a GPU.
	DType tensor.DType
	// Text describes the device for the log.
	Text string
	// Checks are the outcomes of the check of a GPU's kernels, CheckTime its duration. The CPU's are not checked.
	Checks    []Check
	CheckTime time.Duration

	cuda   *cuda.Backend // nil for the CPU
	peak   func() float64
	memory func() (used, total uint64) // nil where the backend's memory is the process's
	close  func()
}

// Peak is the device's highest rate of floating-point operations in GFLOP/s: measured on the CPU, computed from clock
// and multiprocessors on a GPU.
func (d *Device) Peak() float64 { return d.peak() }

// OwnMemory reports whether the device has memory of its own, apart from that of the process.
func (d *Device) OwnMemory() bool { return d.memory != nil }

// Memory returns the bytes that the backend holds on its device and the bytes the device has. The device must have
// memory of its own.
func (d *Device) Memory() (used, total uint64) { return d.memory() }

// Close releases the device.
func (d *Device) Close() { d.close() }

// emulatedMemory is the memory of the emulated GPU in bytes: enough for micro models.
const emulatedMemory = 4 << 30

// Open opens a device by its name: cpu; cuda:N or cuda; emulated-cuda, which executes the GPU's kernels on the CPU,
// instruction by instruction; cpu-bf16, the CPU in the precision of a GPU, which shows what rounding alone does to a
// run; or auto, which is the first GPU if there is one and else the CPU.
func Open(name string) (*Device, error) {
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
		return openCUDA(ptx.NewDriver(emulatedMemory, 1))
	case name == "cuda":
		return openGPU(0)
	case strings.HasPrefix(name, "cuda:"):
		if n, err := strconv.Atoi(name[len("cuda:"):]); err == nil {
			return openGPU(n)
		}
	}
	return nil, fmt.Errorf("--device: %q is none of auto, cpu, cuda:N (such as cuda:0), emulated-cuda", name)
}

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
	return openCUDA(d)
}

// openCUDA opens the device behind a driver for work: only if its kernels give the right results.
func openCUDA(d gpu.Driver) (*Device, error) {
	out := CUDA(d)
	if err := out.check(); err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}

// CUDA returns the device behind a driver, real or emulated, which it owns from then on. Its kernels are not checked.
func CUDA(d gpu.Driver) *Device {
	b := cuda.New(d, cuda.Versions{})
	if os.Getenv("DMX_CUDA_SYNC") == "1" {
		b.SyncEach()
	}
	info := b.Info()
	out := &Device{Backend: b, cuda: b, DType: tensor.BF16,
		Text:   fmt.Sprintf("%s, %s, %d GiB", b.Name(), info.Name, info.TotalMemory>>30),
		peak:   func() float64 { return cuda.PeakGFLOPS(info) },
		memory: func() (used, total uint64) { return uint64(b.MemoryInUse()), uint64(info.TotalMemory) },
		close:  func() { _ = b.Close() }, // what a device does not free goes with the process
	}
	if info.Emulated {
		// An emulated GPU has no speed of its own: MFU is relative to the CPU that it runs on.
		out.Text = b.Name() + " (interpreter, for tests: very slow)"
		out.peak = func() float64 { return gemm.PeakGFLOPS(runtime.GOMAXPROCS(0)) }
	}
	return out
}
