package ptx

import (
	"fmt"
	"math"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// Limits of compute capability 8.0 and 9.0 (CUDA C++ Programming Guide, technical specifications). Drivers since CUDA
// 12.1 take more parameters than 4 KiB; kernels here must do without.
const (
	maxParamBytes   = 4 << 10
	maxStaticShared = 48 << 10 // more is only to be had as dynamic shared memory, after cuFuncSetAttribute
	maxThreads      = 1024     // of a block
	maxBlockZ       = 64
	maxGridX        = math.MaxInt32
	maxGridYZ       = 65535

	registersPerBlock = 64 << 10 // all that one block may have
)

// SharedLimit is the dynamic plus static shared memory one block may have on compute capability 9.0.
const SharedLimit = 227 << 10

// SharedLimit80 is the same of compute capability 8.0.
const SharedLimit80 = 163 << 10

// loadable reports what a driver refuses a kernel for when its module is loaded.
func loadable(k *syntax.Kernel) error {
	switch {
	case k.ParamSize > maxParamBytes:
		return fmt.Errorf("ptx: kernel %s: %d bytes of parameters, at most %d fit", k.Name, k.ParamSize, maxParamBytes)
	case k.SharedLen > maxStaticShared:
		return fmt.Errorf("ptx: kernel %s: %d bytes of static shared memory, at most %d fit",
			k.Name, k.SharedLen, maxStaticShared)
	}
	return nil
}

// launchable reports what a driver refuses a launch for: CUDA_ERROR_INVALID_VALUE, but where the registers do not
// suffice CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES. shared is the most shared memory of a block.
func launchable(k *syntax.Kernel, grid, block [3]int, dynamic, shared int) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("ptx: kernel %s: CUDA_ERROR_INVALID_VALUE: %s", k.Name, fmt.Sprintf(format, args...))
	}
	for i, most := range [3]int{maxGridX, maxGridYZ, maxGridYZ} {
		if grid[i] < 1 || grid[i] > most {
			return refuse("grid %v: dimension %d is to be from 1 to %d", grid, i, most)
		}
	}
	for i, most := range [3]int{maxThreads, maxThreads, maxBlockZ} {
		if block[i] < 1 || block[i] > most {
			return refuse("block %v: dimension %d is to be from 1 to %d", block, i, most)
		}
	}
	threads := block[0] * block[1] * block[2]
	if most := maxThreads; threads > most || k.MaxNTid > 0 && threads > k.MaxNTid {
		if k.MaxNTid > 0 {
			most = k.MaxNTid
		}
		return refuse("block %v has %d threads, at most %d fit", block, threads, most)
	}
	if k.ReqNTid > 0 && threads != k.ReqNTid {
		return refuse("block %v has %d threads, .reqntid wants %d", block, threads, k.ReqNTid)
	}
	if n := k.SharedLen + dynamic; dynamic < 0 || n > shared {
		return refuse("%d bytes of shared memory, at most %d fit", n, shared)
	}
	warps := (threads + 31) / 32
	if n := mostRegisters(k); 32*warps*n > registersPerBlock {
		return fmt.Errorf("ptx: kernel %s: CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: %d warps of up to %d registers a thread "+
			"need more than the %d of a block: the kernel wants .maxntid or .maxnreg",
			k.Name, warps, n, registersPerBlock)
	}
	return nil
}

// mostRegisters is the most registers a thread that the assembler may give a kernel, as they are allocated: in steps of
// 8. A kernel with .maxntid gets few enough for a block of that size to fit.
func mostRegisters(k *syntax.Kernel) int {
	switch {
	case k.MaxNReg > 0:
		return min((k.MaxNReg+7)&^7, 256)
	case k.MaxNTid > 0:
		return min(registersPerBlock/((k.MaxNTid+31)&^31)&^7, 256)
	}
	return 256
}
