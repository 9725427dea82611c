package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dino-mx/dmx/data/npy"
	"github.com/dino-mx/dmx/kernels/ptx/syntax"
	"github.com/dino-mx/dmx/tensor"
)

// argument is one kernel argument: bytes that are passed as they are, or a buffer whose address is passed.
type argument struct {
	text  string // as given
	value []byte // of a scalar or structure
	elem  element
	// A buffer:
	buffer  bool
	shape   []int
	content []byte // before the run; nil if undefined
}

// maxBuffer is the largest number of bytes of a buffer: the interpreter keeps a history of every two bytes beside them.
const maxBuffer = 1 << 30

func (a *argument) count() int {
	n := 1
	for _, d := range a.shape {
		n *= d
	}
	return n
}

// what describes a buffer, for example f32[32 4].
func (a *argument) what() string { return fmt.Sprintf("%s%v", a.elem.name, a.shape) }

// parseArgument reads TYPE:VALUE, bytes:HEX, bytes:@FILE or buf:TYPE[:SHAPE][=CONTENT]. index chooses the random numbers.
func parseArgument(text string, index int) (*argument, error) {
	a := &argument{text: text}
	typ, rest, ok := strings.Cut(text, ":")
	if !ok {
		return nil, usageError{fmt.Errorf("--arg %s: expected TYPE:VALUE, buf:TYPE:COUNT=CONTENT or bytes:HEX", text)}
	}
	if typ == "buf" {
		return a, a.parseBuffer(rest, index)
	}
	if typ == "bytes" {
		var err error
		if file, isFile := strings.CutPrefix(rest, "@"); isFile {
			a.value, err = readLimited(file, maxBuffer)
		} else if a.value, err = hex.DecodeString(rest); err != nil {
			err = usageError{fmt.Errorf("--arg %s: %w; expected pairs of hexadecimal digits or @FILE", text, err)}
		}
		return a, err
	}
	e, err := elementOf(typ)
	if err == nil {
		a.elem = e
		a.value, err = e.value(rest)
	}
	if err != nil {
		return nil, usageError{fmt.Errorf("--arg %s: %w", text, err)}
	}
	return a, nil
}

// parseBuffer reads TYPE[:SHAPE][=CONTENT].
func (a *argument) parseBuffer(text string, index int) error {
	a.buffer = true
	usage := func(format string, args ...any) error {
		return usageError{fmt.Errorf("--arg %s: %s", a.text, fmt.Sprintf(format, args...))}
	}
	head, content, filled := strings.Cut(text, "=")
	typ, shape, sized := strings.Cut(head, ":")
	var err error
	if a.elem, err = elementOf(typ); err != nil {
		return usage("%v", err)
	}
	file, isFile := strings.CutPrefix(content, "@")
	if sized {
		for _, s := range strings.Split(shape, "x") {
			d, err := strconv.Atoi(s)
			if err != nil || d < 0 || d > maxBuffer || d > 0 && a.count() > maxBuffer/d {
				return usage("shape %q: expected a number of elements, or numbers joined by x, of at most %d bytes", shape, maxBuffer)
			}
			a.shape = append(a.shape, d)
		}
		if a.count() > maxBuffer/a.elem.size {
			return usage("%d elements of %d bytes: at most %d bytes fit", a.count(), a.elem.size, maxBuffer)
		}
	} else if !isFile {
		return usage("expected buf:%s:COUNT; only the content of a file says its size", typ)
	}
	if isFile {
		return a.readFile(file)
	}
	n := a.count()
	r := tensor.NewRand(1, uint32(index), 0, 1<<23)
	var at func(i int) uint64
	number := func(v float64) uint64 {
		if a.elem.kind == 'f' {
			return a.elem.float(v)
		}
		return uint64(int64(v))
	}
	switch {
	case !filled:
		return nil
	case content == "zeros":
		at = func(int) uint64 { return 0 }
	case content == "ones":
		at = func(int) uint64 { return number(1) }
	case content == "iota":
		at = func(i int) uint64 { return number(float64(i)) }
	case content == "rand" && a.elem.kind == 'f':
		at = func(int) uint64 { return a.elem.float(r.Norm()) }
	case content == "rand":
		at = func(int) uint64 { return r.Uint64() }
	default:
		return usage("content %q: expected zeros, ones, iota, rand, @FILE.npy or @FILE.bin", content)
	}
	a.content = make([]byte, 0, n*a.elem.size)
	for i := range n {
		a.content = a.elem.append(a.content, at(i))
	}
	return nil
}

// readFile returns the elements of a .npy file, or the raw bytes of any other. A shape on the command line must agree.
func (a *argument) readFile(file string) error {
	b, err := readLimited(file, 2*maxBuffer+1<<17)
	if err != nil {
		return err
	}
	shape := []int{len(b) / a.elem.size}
	if strings.EqualFold(filepath.Ext(file), ".npy") {
		r := bytes.NewReader(b)
		h, err := npy.ReadHeader(r)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if h.Type != a.elem.npy && !(a.elem.size == 1 && h.Type[1:] == a.elem.npy[1:]) {
			return fmt.Errorf("%s: element type %s: expected %s for a buffer of %s", file, h.Type, a.elem.npy, a.elem.name)
		}
		n := int64(1)
		shape = shape[:0]
		for _, d := range h.Shape {
			if d > maxBuffer || d > 0 && n > maxBuffer/d {
				return fmt.Errorf("%s: shape %v: at most %d elements fit", file, h.Shape, maxBuffer)
			}
			n *= d
			shape = append(shape, int(d))
		}
		if want := n * int64(a.elem.npySize()); int64(r.Len()) != want {
			return fmt.Errorf("%s: shape %v needs %d bytes, the file has %d", file, h.Shape, want, r.Len())
		}
		a.content = a.elem.fromNPY(b[len(b)-r.Len():])
	} else {
		if len(b)%a.elem.size != 0 {
			return fmt.Errorf("%s: %d bytes: expected a multiple of %d, the size of %s", file, len(b), a.elem.size, a.elem.name)
		}
		a.content = b
	}
	if len(a.content) > maxBuffer {
		return fmt.Errorf("%s: %d bytes of elements: at most %d fit", file, len(a.content), maxBuffer)
	}
	if n := len(a.content) / a.elem.size; a.shape != nil && a.count() != n {
		return fmt.Errorf("%s: %d elements, --arg %s asks for %d", file, n, a.text, a.count())
	}
	if a.shape == nil {
		a.shape = shape
	}
	return nil
}

func readLimited(file string, most int64) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s: %d bytes: at most %d are read", file, info.Size(), most)
	}
	return os.ReadFile(file)
}

// fits returns the reason why the argument cannot be passed as parameter p, nil if it can.
func (a *argument) fits(p syntax.Param) error {
	size := len(a.value)
	if a.buffer {
		size = 8
	}
	float := strings.HasPrefix(p.Type, "f") || strings.HasPrefix(p.Type, "bf")
	switch {
	case size != p.Size:
		return fmt.Errorf("it has %d bytes, the parameter %d", size, p.Size)
	case a.buffer && float, !a.buffer && a.elem.name != "" && !strings.HasPrefix(p.Type, "b") && (a.elem.kind == 'f') != float:
		return fmt.Errorf("it is of another kind than the parameter")
	}
	return nil
}

// takes lists what a kernel takes, one parameter a line, for error messages.
func takes(k *syntax.Kernel) string {
	var b strings.Builder
	for i, p := range k.Params {
		hint := "--arg bytes:HEX or bytes:@FILE"
		t := strings.TrimPrefix(p.Type, "s")
		if t != p.Type {
			t = "i" + t
		}
		if _, err := elementOf(t); err == nil && paramType(p) == "."+p.Type {
			hint = "--arg " + t + ":VALUE"
			if p.Type == "u64" {
				hint += ", or buf:TYPE:COUNT=CONTENT for a pointer"
			}
		}
		fmt.Fprintf(&b, "\n  %d  %-8s %s   %s", i, paramType(p), p.Name, hint)
	}
	return b.String()
}
