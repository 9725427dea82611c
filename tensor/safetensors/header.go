package safetensors

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dino-mx/dmx/tensor"
)

// MaxHeader is the largest header accepted or written, in bytes, as in the reference implementation.
const MaxHeader = 100_000_000

// maxRank bounds the dimensions of one tensor; frameworks stop at 64.
const maxRank = 64

// ErrFormat is wrapped by every error that says a file is not a valid safetensors file.
var ErrFormat = errors.New("not a valid safetensors file")

// Info describes one stored tensor. Begin and End are byte offsets from the start of the data.
type Info struct {
	Name       string
	DType      DType
	Shape      tensor.Shape
	Begin, End int64
}

// NumBytes is the size of the stored elements.
func (i Info) NumBytes() int64 { return i.End - i.Begin }

// String describes the tensor for messages: "cls_token F32[1 1 384]".
func (i Info) String() string { return i.Name + " " + i.DType.String() + i.Shape.String() }

// parseHeader reads the JSON of a header and checks it against the size of the data behind it. The tensors come
// back in offset order.
func parseHeader(header []byte, dataSize int64) ([]Info, map[string]string, error) {
	if !utf8.Valid(header) {
		return nil, nil, errors.New("the header is not UTF-8")
	}
	p := headerParser{dec: json.NewDecoder(bytes.NewReader(header))}
	p.dec.UseNumber()
	infos, meta, err := p.file()
	if err != nil {
		return nil, nil, err
	}
	slices.SortStableFunc(infos, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.Begin, b.Begin), cmp.Compare(a.End, b.End), strings.Compare(a.Name, b.Name))
	})
	end := int64(0)
	for _, t := range infos {
		// One rule for overlaps, holes and aliases: each tensor begins where the one before it ended.
		if t.Begin != end {
			return nil, nil, fmt.Errorf("tensor %q: begins at byte %d of the data, expected %d (tensors neither overlap nor leave gaps)", t.Name, t.Begin, end)
		}
		if t.End < t.Begin {
			return nil, nil, fmt.Errorf("tensor %q: ends at byte %d before it begins at %d", t.Name, t.End, t.Begin)
		}
		want, err := byteSize(t.DType, t.Shape)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if want != t.End-t.Begin {
			return nil, nil, fmt.Errorf("tensor %q: %s%s needs %d bytes, its offsets span %d", t.Name, t.DType, t.Shape, want, t.End-t.Begin)
		}
		end = t.End
	}
	if end != dataSize {
		if end > dataSize {
			return nil, nil, fmt.Errorf("the tensors need %d bytes of data, the file has %d: it is cut off", end, dataSize)
		}
		return nil, nil, fmt.Errorf("the tensors need %d bytes of data, the file has %d: trailing bytes", end, dataSize)
	}
	return infos, meta, nil
}

// byteSize multiplies a shape out, refusing what does not fit.
func byteSize(d DType, shape []int) (int64, error) {
	n := dtypes[d].bits
	for _, dim := range shape {
		hi, lo := bits.Mul64(n, uint64(dim))
		if hi != 0 || lo > 1<<62 {
			return 0, fmt.Errorf("%s%s is too large", d, tensor.Shape(shape))
		}
		n = lo
	}
	if n%8 != 0 {
		return 0, fmt.Errorf("%s%s does not fill whole bytes", d, tensor.Shape(shape))
	}
	return int64(n / 8), nil
}

// headerParser walks the tokens itself because encoding/json keeps the last of two equal keys without a word.
type headerParser struct{ dec *json.Decoder }

func (p *headerParser) file() ([]Info, map[string]string, error) {
	if err := p.delim('{', "the header"); err != nil {
		return nil, nil, err
	}
	var infos []Info
	var meta map[string]string
	seen := map[string]bool{}
	for p.dec.More() {
		name, err := p.str("a tensor name")
		if err != nil {
			return nil, nil, err
		}
		if seen[name] {
			return nil, nil, fmt.Errorf("the name %q occurs twice in the header", name)
		}
		seen[name] = true
		if name == "__metadata__" {
			if meta, err = p.metadata(); err != nil {
				return nil, nil, fmt.Errorf("__metadata__: %w", err)
			}
			continue
		}
		info, err := p.tensor()
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		info.Name = name
		infos = append(infos, info)
	}
	if err := p.delim('}', "the header"); err != nil {
		return nil, nil, err
	}
	if _, err := p.dec.Token(); err != io.EOF {
		return nil, nil, errors.New("the header has more after its JSON object")
	}
	return infos, meta, nil
}

func (p *headerParser) metadata() (map[string]string, error) {
	if err := p.delim('{', "the metadata"); err != nil {
		return nil, err
	}
	meta := map[string]string{}
	for p.dec.More() {
		key, err := p.str("a key")
		if err != nil {
			return nil, err
		}
		if _, dup := meta[key]; dup {
			return nil, fmt.Errorf("the key %q occurs twice", key)
		}
		v, err := p.str("the value of " + strconv.Quote(key))
		if err != nil {
			return nil, err
		}
		meta[key] = v
	}
	return meta, p.delim('}', "the metadata")
}

func (p *headerParser) tensor() (Info, error) {
	var t Info
	if err := p.delim('{', "its description"); err != nil {
		return t, err
	}
	seen := map[string]bool{}
	for p.dec.More() {
		key, err := p.str("a member name")
		if err != nil {
			return t, err
		}
		if seen[key] {
			return t, fmt.Errorf("member %q occurs twice", key)
		}
		seen[key] = true
		switch key {
		case "dtype":
			s, err := p.str("dtype")
			if err != nil {
				return t, err
			}
			d, ok := ParseDType(s)
			if !ok {
				return t, fmt.Errorf("dtype %q is unknown", s)
			}
			t.DType = d
		case "shape":
			dims, err := p.ints("shape", maxRank)
			if err != nil {
				return t, err
			}
			t.Shape = tensor.Shape{}
			for _, d := range dims {
				t.Shape = append(t.Shape, int(d))
			}
		case "data_offsets":
			o, err := p.ints("data_offsets", 2)
			if err != nil {
				return t, err
			}
			if len(o) != 2 {
				return t, fmt.Errorf("data_offsets has %d numbers, expected 2", len(o))
			}
			t.Begin, t.End = o[0], o[1]
		default:
			return t, fmt.Errorf("unknown member %q (expected dtype, shape, data_offsets)", key)
		}
	}
	for _, key := range []string{"dtype", "shape", "data_offsets"} {
		if !seen[key] {
			return t, fmt.Errorf("member %q is missing", key)
		}
	}
	return t, p.delim('}', "its description")
}

func (p *headerParser) delim(want json.Delim, what string) error {
	tok, err := p.token(what)
	if err != nil {
		return err
	}
	if tok != want {
		return fmt.Errorf("%s: found %v, expected %v", what, tok, want)
	}
	return nil
}

func (p *headerParser) str(what string) (string, error) {
	tok, err := p.token(what)
	if err != nil {
		return "", err
	}
	s, ok := tok.(string)
	if !ok {
		return "", fmt.Errorf("%s: found %v, expected a string", what, tok)
	}
	return s, nil
}

func (p *headerParser) ints(what string, limit int) ([]int64, error) {
	if err := p.delim('[', what); err != nil {
		return nil, err
	}
	var out []int64
	for p.dec.More() {
		tok, err := p.token(what)
		if err != nil {
			return nil, err
		}
		num, ok := tok.(json.Number)
		if !ok {
			return nil, fmt.Errorf("%s: found %v, expected a whole number", what, tok)
		}
		v, err := strconv.ParseUint(num.String(), 10, 62)
		if err != nil {
			return nil, fmt.Errorf("%s: %s is not a whole number from 0 to 2^62", what, num)
		}
		if len(out) == limit {
			return nil, fmt.Errorf("%s: more than %d numbers", what, limit)
		}
		out = append(out, int64(v))
	}
	return out, p.delim(']', what)
}

func (p *headerParser) token(what string) (json.Token, error) {
	tok, err := p.dec.Token()
	if err == io.EOF {
		return nil, fmt.Errorf("%s: the header ends in the middle", what)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return tok, nil
}
