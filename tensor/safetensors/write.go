package safetensors

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/tensor"
)

// Tensor is one tensor to be written. Write is asked once for its bytes, little-endian and row-major, and must
// produce exactly as many as type and shape say.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Write func(io.Writer) error
}

// FromTensor describes a host tensor as it is stored in memory. The tensor is read when the file is written.
func FromTensor(name string, t *tensor.Tensor) Tensor {
	return Tensor{Name: name, DType: Of(t.DType()), Shape: t.Shape(), Write: func(w io.Writer) error {
		_, err := w.Write(t.Bytes())
		return err
	}}
}

// FromTensorAs describes a host tensor of a float type converted to F32, F16, BF16 or F64 while it is written.
func FromTensorAs(name string, t *tensor.Tensor, d DType) (Tensor, error) {
	if Of(t.DType()) == d {
		return FromTensor(name, t), nil
	}
	if !t.DType().IsFloat() || (d != F32 && d != F16 && d != BF16 && d != F64) {
		return Tensor{}, fmt.Errorf("tensor %q: %s elements cannot be written as %s", name, t.DType(), d)
	}
	return Tensor{Name: name, DType: d, Shape: t.Shape(), Write: func(w io.Writer) error {
		var buf []byte
		for i := range t.Len() {
			v := t.At(i)
			switch d {
			case F32:
				buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(float32(v)))
			case F64:
				buf = binary.LittleEndian.AppendUint64(buf, math.Float64bits(v))
			case BF16:
				buf = binary.LittleEndian.AppendUint16(buf, bf16FromF64(v))
			default:
				buf = binary.LittleEndian.AppendUint16(buf, ToF16(float32(v)))
			}
			if len(buf) >= 1<<16 || i == t.Len()-1 {
				if _, err := w.Write(buf); err != nil {
					return err
				}
				buf = buf[:0]
			}
		}
		return nil
	}}, nil
}

// FromSource describes a stored tensor to be copied from another file unchanged.
func FromSource(name string, src Source, t Info) Tensor {
	return Tensor{Name: name, DType: t.DType, Shape: t.Shape, Write: func(w io.Writer) error {
		buf := make([]byte, min(t.NumBytes(), 1<<20))
		for off := int64(0); off < t.NumBytes(); off += int64(len(buf)) {
			part := buf[:min(int64(len(buf)), t.NumBytes()-off)]
			if err := src.Raw(t.Name, off, part); err != nil {
				return err
			}
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		return nil
	}}
}

// Write writes a file: the header in the reference implementation's canonical order (metadata, then tensors by
// descending type rank and ascending name), padded with spaces to a multiple of 8, then the data without gaps.
// The same tensors give the same bytes whatever their order in the argument.
func Write(w io.Writer, metadata map[string]string, tensors []Tensor) error {
	order := slices.Clone(tensors)
	slices.SortStableFunc(order, func(a, b Tensor) int {
		if a.DType != b.DType {
			return int(b.DType) - int(a.DType)
		}
		return strings.Compare(a.Name, b.Name)
	})
	header, sizes, err := buildHeader(metadata, order)
	if err != nil {
		return err
	}
	bw := bufio.NewWriterSize(w, 1<<18)
	if err := binary.Write(bw, binary.LittleEndian, uint64(len(header))); err != nil {
		return err
	}
	if _, err := bw.Write(header); err != nil {
		return err
	}
	for i, t := range order {
		cw := countWriter{w: bw}
		if err := t.Write(&cw); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if cw.n != sizes[i] {
			return fmt.Errorf("tensor %q: wrote %d bytes, %s%s needs %d", t.Name, cw.n, t.DType, tensor.Shape(t.Shape), sizes[i])
		}
	}
	return bw.Flush()
}

// WriteFile writes a file under a temporary name in the same folder, syncs it and renames it into place, so that
// the old file stays whole for whoever has it mapped and a crash leaves no half file.
func WriteFile(path string, metadata map[string]string, tensors []Tensor) error {
	return replace(path, func(w io.Writer) error { return Write(w, metadata, tensors) })
}

func replaceFile(path string, content []byte) error {
	return replace(path, func(w io.Writer) error { _, err := w.Write(content); return err })
}

func replace(path string, write func(io.Writer) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	err = write(tmp)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Sync()
	}
	err = errors.Join(err, tmp.Close())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	_ = d.Sync() // some file systems refuse to sync a folder; the rename has happened either way
	return d.Close()
}

type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func buildHeader(metadata map[string]string, order []Tensor) (header []byte, sizes []int64, err error) {
	var b bytes.Buffer
	b.WriteByte('{')
	if metadata != nil {
		b.WriteString(`"__metadata__":{`)
		for i, k := range slices.Sorted(maps.Keys(metadata)) {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(quote(k))
			b.WriteByte(':')
			b.Write(quote(metadata[k]))
		}
		b.WriteByte('}')
	}
	off := int64(0)
	seen := map[string]bool{"__metadata__": true}
	for i, t := range order {
		if seen[t.Name] {
			return nil, nil, fmt.Errorf("tensor name %q occurs twice or is reserved", t.Name)
		}
		seen[t.Name] = true
		if len(t.Shape) > maxRank {
			return nil, nil, fmt.Errorf("tensor %q has %d dimensions, at most %d can be stored", t.Name, len(t.Shape), maxRank)
		}
		size, err := byteSize(t.DType, t.Shape)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		sizes = append(sizes, size)
		if i > 0 || metadata != nil {
			b.WriteByte(',')
		}
		b.Write(quote(t.Name))
		fmt.Fprintf(&b, `:{"dtype":"%s","shape":[`, t.DType)
		for j, d := range t.Shape {
			if j > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "%d", d)
		}
		fmt.Fprintf(&b, `],"data_offsets":[%d,%d]}`, off, off+size)
		off += size
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	if b.Len() > MaxHeader {
		return nil, nil, fmt.Errorf("a header of %d bytes is larger than the limit of %d", b.Len(), MaxHeader)
	}
	return b.Bytes(), sizes, nil
}

// quote escapes a string as the reference writer does: only what JSON demands.
func quote(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
