//go:build !noasm

package vec

import "github.com/klauspost/cpuid/v2"

func detect() ISA {
	switch {
	case !cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3):
		return Generic
	case cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL):
		return AVX512
	}
	return AVX2
}
