package ptx

import (
	"encoding/binary"
	"fmt"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// address compiles [base + offset] into a function that yields the 32 byte addresses.
func (c *compiler) address(o syntax.Operand) (func(w *warp, out *lanes), error) {
	if o.Kind != syntax.AddrOperand {
		return nil, fmt.Errorf("operand is not an address")
	}
	if o.Reg >= 0 {
		r := c.slot[o.Reg]
		wide := syntax.Size(c.k.Regs[o.Reg].Type) == 8
		c.st.reads = append(c.st.reads, r)
		off := o.Imm
		return func(w *warp, out *lanes) {
			x := &w.regs[r]
			for l := range out {
				out[l] = x[l] + off
				if !wide {
					out[l] &= fullMask
				}
			}
		}, nil
	}
	v := uint64(0)
	if o.Name != "" {
		var err error
		if v, err = c.symbol(o.Name); err != nil {
			return nil, err
		}
	}
	k := constant(v + o.Imm)
	return func(_ *warp, out *lanes) { *out = *k }, nil
}

// vectorWidth consumes .v2 or .v4.
func (c *compiler) vectorWidth() int {
	switch c.oneOf("v2", "v4") {
	case "v2":
		return 2
	case "v4":
		return 4
	}
	return 1
}

// memMods consumes cache and ordering hints, which change no result.
func (c *compiler) memMods() {
	for c.oneOf("nc", "volatile", "relaxed", "weak", "acquire", "release", "cg", "ca", "cs", "cv", "lu", "wb", "wt", "gpu", "cta", "sys",
		"L1::no_allocate", "L1::evict_last", "L1::evict_first", "L2::128B", "L2::256B", "L2::cache_hint") != "" {
	}
}

// load reads size bytes; a signed value is extended to signed bytes when that is not 0.
func load(b []byte, size, signed int) uint64 {
	var v uint64
	switch size {
	case 1:
		v = uint64(b[0])
	case 2:
		v = uint64(binary.LittleEndian.Uint16(b))
	case 4:
		v = uint64(binary.LittleEndian.Uint32(b))
	case 8:
		return binary.LittleEndian.Uint64(b)
	}
	if signed != 0 {
		v = truncate(uint64(signExt(v, size)), signed)
	}
	return v
}

func store(b []byte, v uint64, size int) {
	switch size {
	case 1:
		b[0] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(b, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(b, uint32(v))
	case 8:
		binary.LittleEndian.PutUint64(b, v)
	}
}
