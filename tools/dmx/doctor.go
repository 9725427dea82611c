package main

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/klauspost/cpuid/v2"
	"github.com/shirou/gopsutil/v4/mem"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/kernels/cpu/gemm"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/cuda/driver"
	"github.com/dino-mx/dmx/kernels/device"
	"github.com/dino-mx/dmx/tensor"
)

type doctorCmd struct{}

// Run prints one fact a line.
func (doctorCmd) Run(io streams) error {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(io.out, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	threads := runtime.GOMAXPROCS(0)
	line("dmx", "%s, %s", version(), runtime.Version())
	line("system", "%s/%s", runtime.GOOS, runtime.GOARCH)
	line("cpu", "%s", cpuName())
	line("threads", "%d used of %d", threads, runtime.NumCPU())
	line("features", "%s", strings.Join(features(), " "))
	if m, err := mem.VirtualMemory(); err == nil {
		line("memory", "%.1f GiB, %.1f GiB available", gib(m.Total), gib(m.Available))
	} else {
		line("memory", "not known: %v", err)
	}
	b := cpu.New(cpu.Options{})
	defer b.Close()
	line("kernels", "%s", b.Name())
	peak := gemm.PeakGFLOPS(threads)
	line("peak", "%.0f GFLOP/s on %d threads (32-bit multiply-add loop, measured)", peak, threads)
	rate := gemmRate(b)
	line("gemm", "%.0f GFLOP/s, %.0f %% of the peak (1576 x 384 x 1536, measured)", rate, 100*rate/peak)
	n, err := driver.Count()
	if err != nil {
		line("gpu", "not used: %v", err)
		return nil
	}
	for i := range n {
		line("gpu", "%s", gpu(i))
		checkDevice(line, fmt.Sprintf("cuda:%d", i))
	}
	return nil
}

// checkDevice opens a device for work, which compares its kernels with the oracle, and prints the outcome of each
// kernel family.
func checkDevice(line func(name, format string, args ...any), name string) {
	d, err := device.Open(name)
	if err != nil {
		line("check", "%v", err)
		return
	}
	defer d.Close()
	calls := 0
	for i := range d.Checks {
		c := &d.Checks[i]
		calls += c.Calls
		version := ""
		if c.Version > 0 {
			version = fmt.Sprintf("version %d", c.Version)
		}
		line("check", "%-26s %-10s %3d calls  %s", c.Family, version, c.Calls, c)
	}
	line("check", "%s: %d calls compared with the CPU in %.2f s, the loading of kernels included",
		name, calls, d.CheckTime.Seconds())
}

func cpuName() string {
	if cpuid.CPU.BrandName != "" {
		return cpuid.CPU.BrandName
	}
	return runtime.GOARCH
}

// features lists those CPU features that choose a kernel, and what is missing.
func features() []string {
	var have []string
	for _, f := range []struct {
		name string
		ids  []cpuid.FeatureID
	}{
		{"avx2", []cpuid.FeatureID{cpuid.AVX2}},
		{"fma", []cpuid.FeatureID{cpuid.FMA3}},
		{"avx512", []cpuid.FeatureID{cpuid.AVX512F, cpuid.AVX512DQ, cpuid.AVX512BW, cpuid.AVX512VL}},
		{"avx512-bf16", []cpuid.FeatureID{cpuid.AVX512BF16}},
	} {
		if cpuid.CPU.Supports(f.ids...) {
			have = append(have, f.name)
		} else {
			have = append(have, "no-"+f.name)
		}
	}
	return have
}

// gemmRate times one matrix product of a small transformer's MLP, in GFLOP/s: the best of a fifth of a second.
func gemmRate(b *cpu.Backend) float64 {
	const m, n, k = 1576, 1536, 384
	g := kernels.Gemm{
		M: m, N: n, K: k, TransB: true,
		Out: tensor.Zeros(tensor.F32, m, n), A: tensor.Zeros(tensor.F32, m, k), B: tensor.Zeros(tensor.F32, n, k),
	}
	b.Fill(g.A, 0.5)
	b.Fill(g.B, 0.25)
	best := 0.0
	for start := time.Now(); time.Since(start) < 200*time.Millisecond; {
		t := time.Now()
		b.Gemm(g)
		best = max(best, float64(kernels.GemmFLOPs(m, n, k))/float64(time.Since(t).Nanoseconds()))
	}
	return best
}

// gpu says what the NVIDIA driver shows of a GPU, or why this program cannot use it.
func gpu(index int) string {
	d, err := driver.Open(index)
	if err != nil {
		return err.Error()
	}
	info := d.Info()
	free, total := d.Memory()
	text := fmt.Sprintf("cuda:%d %s, compute capability %d.%d, %d multiprocessors, %.1f of %.1f GiB free, "+
		"driver for CUDA %d.%d, kernels from %s PTX", index, info.Name, info.Major, info.Minor, info.SMs, gib(uint64(free)),
		gib(uint64(total)), info.DriverVersion/1000, info.DriverVersion%1000/10, strings.Join(cuda.Targets(info), " and "))
	if err := d.Close(); err != nil {
		text += "; " + err.Error()
	}
	return text
}

func gib(bytes uint64) float64 { return float64(bytes) / (1 << 30) }
