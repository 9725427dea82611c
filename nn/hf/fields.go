package hf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/dino-mx/dmx/kernels"
)

// maxJSON bounds the JSON files that are read whole; published ones have some kilobytes.
const maxJSON = 16 << 20

// readJSON reads a small file.
func readJSON(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxJSON+1))
	if err == nil && len(raw) > maxJSON {
		err = fmt.Errorf("more than %d bytes, which no such file has", maxJSON)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return raw, nil
}

// parseObject reads a JSON object and refuses duplicate keys and what follows the object.
func parseObject(raw []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	tok, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if tok != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	m := map[string]json.RawMessage{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		key, ok := tok.(string)
		if !ok {
			return nil, fmt.Errorf("not JSON: key %v", tok)
		}
		if _, dup := m[key]; dup {
			return nil, fmt.Errorf("the key %q occurs twice", key)
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		m[key] = v
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("more after the JSON object")
	}
	return m, nil
}

// fields reads typed members of a JSON object and keeps the first error, so that a parser reads as a table. An
// absent member and null give the default.
type fields struct {
	m   map[string]json.RawMessage
	err error
}

func (f *fields) fail(key string, value any, want string) {
	if f.err == nil {
		f.err = fmt.Errorf("%s is %v; it must be %s", key, value, want)
	}
}

func (f *fields) get(key string) (json.RawMessage, bool) {
	raw, ok := f.m[key]
	if !ok || string(raw) == "null" {
		return nil, false
	}
	return raw, true
}

func (f *fields) integer(key string, def, lo, hi int) int {
	raw, ok := f.get(key)
	if !ok {
		return def
	}
	v, err := strconv.Atoi(string(raw))
	if err != nil {
		// 4.0 is what some writers make of a whole number.
		x, ferr := strconv.ParseFloat(string(raw), 64)
		if ferr != nil || x != math.Trunc(x) || math.Abs(x) > 1<<40 {
			f.fail(key, shorten(raw), "a whole number")
			return def
		}
		v = int(x)
	}
	if v < lo || v > hi {
		f.fail(key, v, fmt.Sprintf("from %d to %d", lo, hi))
		return def
	}
	return v
}

// side reads a size given as one number or as [height, width] of a square.
func (f *fields) side(key string, def, lo, hi int) int {
	raw, ok := f.get(key)
	if !ok {
		return def
	}
	var pair []json.RawMessage
	if json.Unmarshal(raw, &pair) != nil {
		return f.integer(key, def, lo, hi)
	}
	if len(pair) != 2 || string(pair[0]) != string(pair[1]) {
		f.fail(key, shorten(raw), "one number, or two equal ones: only square sizes are supported")
		return def
	}
	one := &fields{m: map[string]json.RawMessage{key: pair[0]}}
	v := one.integer(key, def, lo, hi)
	if f.err == nil {
		f.err = one.err
	}
	return v
}

func (f *fields) number(key string, def float64) float64 {
	raw, ok := f.get(key)
	if !ok {
		return def
	}
	v, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		f.fail(key, shorten(raw), "a number")
		return def
	}
	return v
}

func (f *fields) boolean(key string, def bool) bool {
	raw, ok := f.get(key)
	if !ok {
		return def
	}
	var v bool
	if json.Unmarshal(raw, &v) != nil {
		f.fail(key, shorten(raw), "true or false")
		return def
	}
	return v
}

func (f *fields) str(key, def string) string {
	raw, ok := f.get(key)
	if !ok {
		return def
	}
	var v string
	if json.Unmarshal(raw, &v) != nil {
		f.fail(key, shorten(raw), "a string")
		return def
	}
	return v
}

func (f *fields) floats(key string) []float64 {
	raw, ok := f.get(key)
	if !ok {
		return nil
	}
	var v []float64
	if json.Unmarshal(raw, &v) != nil {
		f.fail(key, shorten(raw), "a list of numbers")
	}
	return v
}

func (f *fields) object(key string) *fields {
	raw, ok := f.get(key)
	if !ok {
		return nil
	}
	m, err := parseObject(raw)
	if err != nil {
		f.fail(key, shorten(raw), "an object: "+err.Error())
		return nil
	}
	return &fields{m: m}
}

func (f *fields) activation(key, name string) kernels.Activation {
	a, ok := activationNames[name]
	if !ok {
		f.fail(key, name, "gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, silu or relu")
	}
	return a
}

// shorten is a JSON value on one line of at most 60 bytes, for messages.
func shorten(raw []byte) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) == nil {
		raw = b.Bytes()
	}
	if len(raw) > 60 {
		return strings.ToValidUTF8(string(raw[:60]), "") + "…"
	}
	return string(raw)
}

// float writes as a JSON number that Python reads as a float: with a point or an exponent.
type float float64

// MarshalJSON implements json.Marshaler.
func (f float) MarshalJSON() ([]byte, error) {
	s := strconv.FormatFloat(float64(f), 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return []byte(s), nil
}

// marshal writes as the Python libraries do: sorted keys, two spaces, a final newline, no HTML escapes.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return b.Bytes(), err
}
