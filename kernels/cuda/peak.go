package cuda

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

// Targets lists the PTX targets among those embedded that a device runs: those without a suffix on their compute
// capability and later ones, those with the suffix a on their own alone.
func Targets(i gpu.Info) []string {
	var out []string
	entries, err := ptxFiles.ReadDir("ptx")
	if err != nil {
		panic(err) // the folder is embedded
	}
	for _, e := range entries {
		parts := strings.Split(e.Name(), ".") // file.target.ptx
		var sm int
		var suffix string
		if n, err := fmt.Sscanf(parts[1], "sm_%d%s", &sm, &suffix); n == 0 {
			panic(err)
		}
		have := 10*i.Major + i.Minor
		if fits := sm <= have && suffix == "" || sm == have; fits && !slices.Contains(out, parts[1]) {
			out = append(out, parts[1])
		}
	}
	return out
}

// PeakGFLOPS is the dense bf16 tensor-core rate of a device in GFLOP/s: multiprocessors times clock times the
// FLOPs a multiprocessor finishes in a cycle (NVIDIA's architecture whitepapers).
func PeakGFLOPS(i gpu.Info) float64 {
	perCycle := 1024.0 // 8.6, 8.9: consumer and workstation chips
	switch {
	case i.Major == 8 && i.Minor == 0:
		perCycle = 2048
	case i.Major >= 9:
		perCycle = 4096
	}
	return float64(i.SMs) * float64(i.ClockKHz) * 1e3 * perCycle / 1e9
}
