package ptx

import "fmt"

// descriptor is a decoded matrix descriptor of wgmma (PTX ISA, "Matrix Descriptor Format"): how 8x8 matrices of 16-bit
// elements, eight rows of 16 bytes each, lie in shared memory.
type descriptor struct {
	start           uint64 // shared address
	leading, stride uint64 // byte offsets
	span            int    // swizzle: 0, 32, 64 or 128 bytes
}

func decodeDescriptor(d uint64) (descriptor, error) {
	field := func(low int) uint64 { return d >> low & 0x3fff << 4 }
	if base := d >> 49 & 7; base != 0 {
		return descriptor{}, fmt.Errorf("matrix descriptor %#x: base offset %d is not supported; let the swizzle pattern begin at a multiple of its size", d, base)
	}
	return descriptor{start: field(0), leading: field(16), stride: field(32), span: [4]int{0, 128, 64, 32}[d>>62]}, nil
}

// kMajor is the shared address of the 16 bytes that hold elements k = 8c to 8c+7 of row r (of M or N).
func (d *descriptor) kMajor(r, c int) uint64 {
	at := d.start + uint64(r/8)*d.stride
	if d.span == 0 {
		return at + uint64(r%8*16) + uint64(c)*d.leading
	}
	return swizzled(at+uint64(r%8*d.span+16*c), d.span)
}

// mnMajor is the shared address of the 16 bytes that hold rows 8c to 8c+7 (of M or N) at k.
func (d *descriptor) mnMajor(c, k int) uint64 {
	if d.span == 0 {
		return d.start + uint64(c)*d.stride + uint64(k/8)*d.leading + uint64(k%8*16)
	}
	wide := d.span / 16
	return swizzled(d.start+uint64(c/wide)*d.leading+uint64(k/8)*d.stride+uint64(k%8*d.span+c%wide*16), d.span)
}

// each calls f for every 16 bytes of rows lo to hi (of M or N, multiples of 8) of a 16 deep operand: elements 8c to 8c+7
// along the contiguous dimension, at index i of the other.
func (d *descriptor) each(transposed bool, lo, hi int, f func(i, c int, addr uint64)) {
	if transposed {
		for k := range 16 {
			for c := lo / 8; c < hi/8; c++ {
				f(k, c, d.mnMajor(c, k))
			}
		}
		return
	}
	for r := lo; r < hi; r++ {
		f(r, 0, d.kMajor(r, 0))
		f(r, 1, d.kMajor(r, 1))
	}
}
