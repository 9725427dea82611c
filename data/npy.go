package data

import (
	"encoding/binary"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// npyHeader is the description in front of a NumPy array, format versions 1 to 3. It is parsed here and not by a
// library because it comes from files that may be damaged, and a wrong one must neither panic nor allocate.
type npyHeader struct {
	kind  string // for example "|u1" or "<i8"
	shape []int64
	bytes int64 // length of the header itself
}

var (
	npyDescr   = regexp.MustCompile(`'descr':\s*'([^']{2,16})'`)
	npyFortran = regexp.MustCompile(`'fortran_order':\s*(True|False)`)
	npyShape   = regexp.MustCompile(`'shape':\s*\(([0-9, ]*)\)`)
)

func readNpyHeader(r io.Reader) (npyHeader, error) {
	var h npyHeader
	var lead [8]byte
	if _, err := io.ReadFull(r, lead[:]); err != nil {
		return h, fmt.Errorf("truncated .npy header: %w", noEOF(err))
	}
	if string(lead[:6]) != "\x93NUMPY" {
		return h, fmt.Errorf("not a .npy array: it starts with % x", lead[:6])
	}
	var length int64
	switch lead[6] {
	case 1:
		var n uint16
		if err := binary.Read(r, binary.LittleEndian, &n); err != nil {
			return h, fmt.Errorf("truncated .npy header: %w", noEOF(err))
		}
		length, h.bytes = int64(n), 10
	case 2, 3:
		var n uint32
		if err := binary.Read(r, binary.LittleEndian, &n); err != nil {
			return h, fmt.Errorf("truncated .npy header: %w", noEOF(err))
		}
		length, h.bytes = int64(n), 12
	default:
		return h, fmt.Errorf(".npy format version %d: expected 1 to 3", lead[6])
	}
	if length > 1<<16 {
		return h, fmt.Errorf("damaged .npy header: it claims %d bytes", length)
	}
	h.bytes += length
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return h, fmt.Errorf("truncated .npy header: %w", noEOF(err))
	}
	descr, fortran, shape := npyDescr.FindSubmatch(text), npyFortran.FindSubmatch(text), npyShape.FindSubmatch(text)
	if descr == nil || fortran == nil || shape == nil {
		return h, fmt.Errorf("damaged .npy header %q: expected descr, fortran_order and shape of a plain array", clip(text, 120))
	}
	h.kind = string(descr[1])
	for _, s := range strings.Split(string(shape[1]), ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		d, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return h, fmt.Errorf("damaged .npy header: dimension %q", s)
		}
		h.shape = append(h.shape, d)
	}
	if string(fortran[1]) == "True" && len(h.shape) > 1 {
		return h, fmt.Errorf("the array is in Fortran order; save it with numpy.ascontiguousarray")
	}
	return h, nil
}

func clip(b []byte, n int) []byte { return b[:min(n, len(b))] }
