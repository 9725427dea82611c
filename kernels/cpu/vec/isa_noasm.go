//go:build noasm || !amd64

package vec

func detect() ISA { return Generic }
