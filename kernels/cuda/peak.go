package cuda

// PeakGFLOPS is the dense bf16 tensor-core rate of a device in GFLOP/s: multiprocessors times clock times the
// FLOPs a multiprocessor finishes in a cycle (NVIDIA's architecture whitepapers).
func PeakGFLOPS(i Info) float64 {
	perCycle := 1024.0 // 8.6, 8.9: consumer and workstation chips
	switch {
	case i.Major == 8 && i.Minor == 0:
		perCycle = 2048
	case i.Major >= 9:
		perCycle = 4096
	}
	return float64(i.SMs) * float64(i.ClockKHz) * 1e3 * perCycle / 1e9
}
