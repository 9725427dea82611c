package pth

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// Write writes tensors as a state dict that torch.load opens with weights_only, in the order given. The same
// tensors give the same bytes.
func Write(w io.Writer, tensors []safetensors.Tensor) error {
	z := zip.NewWriter(w)
	const top = "archive"
	pickle, err := statePickle(tensors)
	if err != nil {
		return err
	}
	member := func(name string) (io.Writer, error) {
		return z.CreateHeader(&zip.FileHeader{Name: top + "/" + name, Method: zip.Store})
	}
	for _, m := range []struct{ name, content string }{{"data.pkl", string(pickle)}, {"byteorder", "little"}, {"version", "3\n"}} {
		f, err := member(m.name)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(f, m.content); err != nil {
			return err
		}
	}
	for i, t := range tensors {
		f, err := member("data/" + strconv.Itoa(i))
		if err != nil {
			return err
		}
		count := &counter{w: f}
		if err := t.Write(count); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if want := int64(tensor.Shape(t.Shape).Len()) * int64(t.DType.Bits()/8); count.n != want {
			return fmt.Errorf("tensor %q: wrote %d bytes, %s%s needs %d", t.Name, count.n, t.DType, tensor.Shape(t.Shape), want)
		}
	}
	return z.Close()
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// statePickle is an OrderedDict of tensors in pickle protocol 2, each over a storage of its own.
func statePickle(tensors []safetensors.Tensor) ([]byte, error) {
	kinds := map[elemKind]string{}
	for name, kind := range storageKinds {
		kinds[kind] = name
	}
	seen := map[string]bool{}
	p := []byte("\x80\x02ccollections\nOrderedDict\n)R(")
	text := func(s string) {
		p = append(p, 'X')
		p = binary.LittleEndian.AppendUint32(p, uint32(len(s)))
		p = append(p, s...)
	}
	number := func(n int) {
		if n <= math.MaxInt32 {
			p = append(p, 'J')
			p = binary.LittleEndian.AppendUint32(p, uint32(n))
			return
		}
		p = append(p, 0x8a, 8)
		p = binary.LittleEndian.AppendUint64(p, uint64(n))
	}
	for i, t := range tensors {
		kind, ok := kinds[t.DType]
		if !ok {
			return nil, fmt.Errorf("tensor %q: PyTorch has no storage for %s", t.Name, t.DType)
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("tensor name %q occurs twice", t.Name)
		}
		seen[t.Name] = true
		text(t.Name)
		p = append(p, "ctorch._utils\n_rebuild_tensor_v2\n(("...)
		text("storage")
		p = append(p, "ctorch\n"+kind+"\n"...)
		text(strconv.Itoa(i))
		text("cpu")
		number(tensor.Shape(t.Shape).Len())
		p = append(p, "tQ"...)
		number(0)
		p = append(p, '(')
		for _, d := range t.Shape {
			number(d)
		}
		p = append(p, "t("...)
		stride := tensor.Shape(t.Shape).Len()
		for _, d := range t.Shape {
			if d > 0 {
				stride /= d
			}
			number(max(stride, 1))
		}
		p = append(p, "t\x89ccollections\nOrderedDict\n)RtR"...)
	}
	return append(p, "u."...), nil
}
