package jpeg

import (
	"encoding/binary"
	"errors"
)

// bits reads the entropy-coded bytes of a scan, most significant bit first.
type bits struct {
	b   []byte
	at  int
	acc uint64 // the next n bits, from the top
	n   int
}

// fill reads bytes up to the next marker or until 57 bits are there. A byte 0xff of data is followed by a zero byte.
func (s *bits) fill() {
	if s.at+8 <= len(s.b) {
		v := binary.BigEndian.Uint64(s.b[s.at:])
		if (^v-0x0101010101010101)&v&0x8080808080808080 == 0 { // no byte is 0xff
			s.acc |= v >> s.n
			k := (64 - s.n) >> 3
			s.at += k
			s.n += 8 * k
			return
		}
	}
	for s.n <= 56 && s.at < len(s.b) {
		c := s.b[s.at]
		if c == 0xff {
			if s.at+1 >= len(s.b) {
				return
			}
			switch s.b[s.at+1] {
			case 0:
				s.at++
			case 0xff:
				s.at++
				continue
			default:
				return
			}
		}
		s.at++
		s.acc |= uint64(c) << (56 - s.n)
		s.n += 8
	}
}

// drop passes over k bits, which must be there.
func (s *bits) drop(k int) {
	s.acc <<= k
	s.n -= k
}

// take reads k bits, 1 to 16.
func (s *bits) take(k int) (int, bool) {
	if s.n < k {
		if s.fill(); s.n < k {
			return 0, false
		}
	}
	v := int(s.acc >> (64 - k))
	s.drop(k)
	return v, true
}

// extended reads a number of k bits, 0 to 16, whose first bit is 0 if it is negative (section F.2.2.1).
func (s *bits) extended(k int) (int, bool) {
	if k == 0 {
		return 0, true
	}
	v, ok := s.take(k)
	if v < 1<<(k-1) {
		v += 1 - 1<<k
	}
	return v, ok
}

// lookBits is how many bits the table of short codes is indexed with.
const lookBits = 9

// table is a table of Huffman codes.
type table struct {
	look    [1 << lookBits]uint16 // value<<8 | length of the code, 0 if it is longer
	most    [17]int               // the largest code of a length, -1 if there is none
	offset  [17]int               // of the value of a code of a length
	values  []byte
	defined bool
}

var errCode = errors.New("a bad Huffman code")

// decode reads one code.
func (t *table) decode(s *bits) (byte, error) {
	if s.n < 16 {
		s.fill()
	}
	if v := t.look[s.acc>>(64-lookBits)]; v != 0 {
		k := int(v & 255)
		if k > s.n {
			return 0, errShort
		}
		s.drop(k)
		return byte(v >> 8), nil
	}
	for k := lookBits + 1; k <= 16; k++ {
		if code := int(s.acc >> (64 - k)); code <= t.most[k] {
			if k > s.n {
				return 0, errShort
			}
			s.drop(k)
			return t.values[code+t.offset[k]], nil
		}
	}
	if s.n < 16 {
		return 0, errShort
	}
	return 0, errCode
}

var errShort = errors.New("the stream ends early")
