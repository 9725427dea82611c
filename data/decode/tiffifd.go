package decode

import (
	"encoding/binary"
	"errors"
)

// tiffFile is the directory of the first page, classic or BigTIFF.
type tiffFile struct {
	b       []byte
	order   binary.ByteOrder
	entries map[int]tiffEntry
}

// tiffEntry is where the values of a tag are.
type tiffEntry struct {
	kind  int // of the values
	count uint64
	data  []byte
}

var errTIFFShort = errors.New("the file ends before its directory does")

// tiffSizes are the bytes of a value of each kind; those of 0 are not read.
var tiffSizes = [19]uint64{
	1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
}

// readIFD reads the first directory.
func readIFD(b []byte) (f tiffFile, err error) {
	f.b, f.entries = b, map[int]tiffEntry{}
	if len(b) < 8 {
		return f, errTIFFShort
	}
	f.order = binary.LittleEndian
	if b[0] == 'M' {
		f.order = binary.BigEndian
	}
	// Sizes of the count of entries, of an entry, and of what it holds in place.
	countSize, entrySize, inside := uint64(2), uint64(12), uint64(4)
	at := uint64(f.order.Uint32(b[4:]))
	if f.order.Uint16(b[2:]) == 43 {
		if len(b) < 16 || f.order.Uint16(b[4:]) != 8 {
			return f, errTIFFShort
		}
		countSize, entrySize, inside = 8, 20, 8
		at = f.order.Uint64(b[8:])
	}
	size := uint64(len(b))
	if at > size || size-at < countSize {
		return f, errTIFFShort
	}
	n := uint64(f.order.Uint16(b[at:]))
	if countSize == 8 {
		n = f.order.Uint64(b[at:])
	}
	at += countSize
	if n > (size-at)/entrySize {
		return f, errTIFFShort
	}
	for i := range n {
		e := b[at+i*entrySize : at+(i+1)*entrySize]
		tag, kind := int(f.order.Uint16(e)), int(f.order.Uint16(e[2:]))
		if kind >= len(tiffSizes) || tiffSizes[kind] == 0 {
			continue
		}
		entry := tiffEntry{kind: kind, count: uint64(f.order.Uint32(e[4:]))}
		place := e[8:]
		if inside == 8 {
			entry.count, place = f.order.Uint64(e[4:]), e[12:]
		}
		if entry.count > size {
			continue // of a tag that nobody reads, or missed when it is
		}
		bytes := entry.count * tiffSizes[kind]
		if bytes <= inside {
			entry.data = place[:bytes]
		} else {
			from := uint64(f.order.Uint32(place))
			if inside == 8 {
				from = f.order.Uint64(place)
			}
			if from > size || size-from < bytes {
				continue
			}
			entry.data = b[from : from+bytes]
		}
		if _, twice := f.entries[tag]; !twice {
			f.entries[tag] = entry
		}
	}
	return f, nil
}

func (f tiffFile) has(tag int) bool {
	_, ok := f.entries[tag]
	return ok
}

// values are those of a tag that holds whole numbers; nil if the tag is missing or holds others.
func (f tiffFile) values(tag int) []uint64 {
	e := f.entries[tag]
	size := tiffSizes[e.kind]
	var read func([]byte) uint64
	switch e.kind {
	case 1, 7:
		read = func(p []byte) uint64 { return uint64(p[0]) }
	case 3:
		read = func(p []byte) uint64 { return uint64(f.order.Uint16(p)) }
	case 4, 13:
		read = func(p []byte) uint64 { return uint64(f.order.Uint32(p)) }
	case 16, 18:
		read = func(p []byte) uint64 { return f.order.Uint64(p) }
	default:
		return nil
	}
	v := make([]uint64, e.count)
	for i := range v {
		v[i] = read(e.data[uint64(i)*size:])
	}
	return v
}

// value is the first value of a tag, or the given one if it has none.
func (f tiffFile) value(tag int, missing uint64) uint64 {
	if v := f.values(tag); len(v) > 0 {
		return v[0]
	}
	return missing
}

// rationals are the values of a tag that holds fractions.
func (f tiffFile) rationals(tag int) []float64 {
	e := f.entries[tag]
	if e.kind != 5 {
		return nil
	}
	v := make([]float64, e.count)
	for i := range v {
		v[i] = float64(f.order.Uint32(e.data[8*i:])) / float64(f.order.Uint32(e.data[8*i+4:]))
	}
	return v
}
