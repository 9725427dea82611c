package ptx

import (
	"encoding/binary"
	"fmt"
)

// tensorMap is what the copy engine must know of a tensor of up to five dimensions, the contiguous one first. The
// real encoding is NVIDIA's own affair; ours is a magic number and the fields, in 128 bytes.
type tensorMap struct {
	addr    uint64
	elem    int // bytes of an element
	swizzle int // 0, 32, 64 or 128 bytes
	rank    int
	dims    [5]int // elements
	strides [5]int // bytes; strides[0] is elem
	box     [5]int // elements
}

const tensorMapMagic = 0x70616d20786d6421 // "!dmx map"

func (t *tensorMap) encode() (b [128]byte) {
	le := binary.LittleEndian
	le.PutUint64(b[0:], tensorMapMagic)
	le.PutUint64(b[8:], t.addr)
	b[16], b[17], b[18] = byte(t.elem), byte(t.swizzle), byte(t.rank)
	for i := range t.dims {
		le.PutUint64(b[24+8*i:], uint64(t.dims[i]))
		le.PutUint64(b[64+8*i:], uint64(t.strides[i]))
		le.PutUint16(b[104+2*i:], uint16(t.box[i]))
	}
	return b
}

func decodeTensorMap(b []byte) (*tensorMap, error) {
	le := binary.LittleEndian
	if magic := le.Uint64(b); magic != tensorMapMagic {
		return nil, fmt.Errorf("the 128 bytes are no tensor map: they begin with %#x", magic)
	}
	if elem, rank := b[16], b[18]; elem != 1 && elem != 2 && elem != 4 && elem != 8 || rank < 1 || rank > 5 {
		return nil, fmt.Errorf("the tensor map is damaged: elements of %d bytes, %d dimensions", elem, rank)
	}
	t := &tensorMap{addr: le.Uint64(b[8:]), elem: int(b[16]), swizzle: int(b[17]), rank: int(b[18])}
	for i := range t.dims {
		t.dims[i] = int(le.Uint64(b[24+8*i:]))
		t.strides[i] = int(le.Uint64(b[64+8*i:]))
		t.box[i] = int(le.Uint16(b[104+2*i:]))
	}
	return t, nil
}
