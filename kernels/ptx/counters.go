package ptx

import "github.com/dino-mx/dmx/kernels/ptx/syntax"

// Counters say how a kernel used the machine, summed over its launches. They are exact and deterministic, so
// tests can hold a kernel to a bound.
type Counters struct {
	Launches     int64
	Instructions int64 // warp instructions executed
	// Read and Written are the different bytes of global memory that a launch read and wrote, summed over launches: what
	// must cross the memory bus even if a cache held everything. Bytes are told apart in pairs.
	Read, Written int64
	PerInstr      []InstrCount
}

// InstrCount is what one instruction of a kernel did.
type InstrCount struct {
	Line  int
	Text  string
	Execs int64 // warp executions with at least one active lane

	// Global memory: 32-byte sectors touched, the least that could hold the bytes asked for, and those bytes.
	Sectors, IdealSectors, Bytes int64
	// Shared memory: bank cycles used and the least possible for the bytes asked for.
	Wavefronts, IdealWavefronts int64
}

func newCounters(k *syntax.Kernel) *Counters {
	c := &Counters{PerInstr: make([]InstrCount, len(k.Code))}
	for i := range k.Code {
		c.PerInstr[i].Line, c.PerInstr[i].Text = k.Code[i].Line, k.Code[i].Text
	}
	return c
}

// BankConflicts is the number of bank cycles of shared memory beyond the least possible.
func (c *Counters) BankConflicts() int64 {
	n := int64(0)
	for i := range c.PerInstr {
		n += c.PerInstr[i].Wavefronts - c.PerInstr[i].IdealWavefronts
	}
	return n
}

// Sectors is the number of 32-byte sectors of global memory touched and the least possible for the bytes asked
// for, request by request.
func (c *Counters) Sectors() (used, ideal int64) {
	for i := range c.PerInstr {
		used += c.PerInstr[i].Sectors
		ideal += c.PerInstr[i].IdealSectors
	}
	return used, ideal
}

// GlobalBytes is the number of bytes that global loads, stores and copies asked for.
func (c *Counters) GlobalBytes() int64 {
	n := int64(0)
	for i := range c.PerInstr {
		n += c.PerInstr[i].Bytes
	}
	return n
}

// Executed is the number of warp executions of instructions whose opcode is op, for example "mma".
func (c *Counters) Executed(op string) int64 {
	n := int64(0)
	for i := range c.PerInstr {
		if t := c.PerInstr[i].Text; t == op || len(t) > len(op) && t[:len(op)] == op && t[len(op)] == '.' {
			n += c.PerInstr[i].Execs
		}
	}
	return n
}
