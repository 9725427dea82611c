// Package npy reads and writes the headers of NumPy arrays.
package npy

import (
	"encoding/binary"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// Header is the description in front of a NumPy array in C order, format versions 1 to 3. It is parsed here and not
// by a library because it comes from files that may be damaged, and a wrong one must neither panic nor allocate.
type Header struct {
	Type  string // NumPy's descr, for example "|u1" or "<i8"
	Shape []int64
	Bytes int64 // length of the header itself
}

var (
	npyDescr   = regexp.MustCompile(`'descr':\s*'([^']{2,16})'`)
	npyFortran = regexp.MustCompile(`'fortran_order':\s*(True|False)`)
	npyShape   = regexp.MustCompile(`'shape':\s*\(([0-9, ]*)\)`)
)

// ReadHeader reads the header; the elements follow in r.
func ReadHeader(r io.Reader) (Header, error) {
	var h Header
	var lead [8]byte
	if _, err := io.ReadFull(r, lead[:]); err != nil {
		return h, fmt.Errorf("truncated .npy header: %w", unexpected(err))
	}
	if string(lead[:6]) != "\x93NUMPY" {
		return h, fmt.Errorf("not a .npy array: it starts with % x", lead[:6])
	}
	var length int64
	switch lead[6] {
	case 1:
		var n uint16
		if err := binary.Read(r, binary.LittleEndian, &n); err != nil {
			return h, fmt.Errorf("truncated .npy header: %w", unexpected(err))
		}
		length, h.Bytes = int64(n), 10
	case 2, 3:
		var n uint32
		if err := binary.Read(r, binary.LittleEndian, &n); err != nil {
			return h, fmt.Errorf("truncated .npy header: %w", unexpected(err))
		}
		length, h.Bytes = int64(n), 12
	default:
		return h, fmt.Errorf(".npy format version %d: expected 1 to 3", lead[6])
	}
	if length > 1<<16 {
		return h, fmt.Errorf("damaged .npy header: it claims %d bytes", length)
	}
	h.Bytes += length
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return h, fmt.Errorf("truncated .npy header: %w", unexpected(err))
	}
	descr, fortran, shape := npyDescr.FindSubmatch(text), npyFortran.FindSubmatch(text), npyShape.FindSubmatch(text)
	if descr == nil || fortran == nil || shape == nil {
		return h, fmt.Errorf("damaged .npy header %q: expected descr, fortran_order and shape of a plain array",
			clip(text, 120))
	}
	h.Type = string(descr[1])
	for _, s := range strings.Split(string(shape[1]), ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		d, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return h, fmt.Errorf("damaged .npy header: dimension %q", s)
		}
		h.Shape = append(h.Shape, d)
	}
	if string(fortran[1]) == "True" && len(h.Shape) > 1 {
		return h, fmt.Errorf("the array is in Fortran order; save it with numpy.ascontiguousarray")
	}
	return h, nil
}

// AppendHeader appends the header of an array in C order, format version 1, padded so that the elements behind it
// are aligned to 64 bytes.
func AppendHeader(b []byte, typ string, shape ...int) []byte {
	dims := make([]string, len(shape))
	for i, d := range shape {
		dims[i] = strconv.Itoa(d)
	}
	tuple := strings.Join(dims, ", ")
	if len(shape) == 1 {
		tuple += "," // a Python tuple of one
	}
	head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", typ, tuple)
	head += strings.Repeat(" ", (64-(10+len(head)+1)%64)%64) + "\n"
	b = append(b, "\x93NUMPY\x01\x00"...)
	return append(binary.LittleEndian.AppendUint16(b, uint16(len(head))), head...)
}

func clip(b []byte, n int) []byte { return b[:min(n, len(b))] }

// unexpected is io.ErrUnexpectedEOF for an end of file inside a header.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
