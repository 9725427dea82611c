package peer

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/klauspost/cpuid/v2"
)

// Machine is the lines of a table's head that say where and when it was measured.
func Machine() string {
	return fmt.Sprintf("- Machine: %s, %d cores; L2 %d KiB, L3 %d KiB\n- Date: %s; %s\n", strings.TrimSpace(cpuid.CPU.BrandName), runtime.NumCPU(),
		cpuid.CPU.Cache.L2>>10, cpuid.CPU.Cache.L3>>10, time.Now().UTC().Format("2006-01-02"), runtime.Version())
}
