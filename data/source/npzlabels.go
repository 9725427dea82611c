package source

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/dino-mx/dmx/data/npy"
)

// npzLabels reads the class numbers of n images, of shape [N], [N, 1] or, one-hot, [N, K]. Rows of several ones are
// several labels an image: no classes, which the note says.
func npzLabels(z *zip.Reader, member string, n int) (labels []int32, note string, err error) {
	f := zipMember(z, member)
	if f == nil {
		return nil, "", nil
	}
	r, err := f.Open()
	if err != nil {
		return nil, "", fmt.Errorf("damaged .npz: %w", err)
	}
	defer r.Close()
	h, err := npy.ReadHeader(r)
	if err != nil {
		return nil, "", err
	}
	rows, columns := int64(1), int64(1)
	if len(h.Shape) > 0 {
		rows = h.Shape[0]
	}
	for _, d := range h.Shape[min(1, len(h.Shape)):] {
		if d > 1 && columns > 1 || d < 1 || d > 1<<20 {
			return nil, "", fmt.Errorf("shape %v: expected [N], [N, 1] or [N, K]", h.Shape)
		}
		columns *= d
	}
	if rows != int64(n) {
		return nil, "", fmt.Errorf("shape %v for %d images", h.Shape, n)
	}
	element, width, err := npyElement(h.Type)
	if err != nil {
		return nil, "", err
	}
	raw, err := readAll(r, rows*columns*width, int64(f.CompressedSize64))
	if err != nil {
		return nil, "", err
	}
	labels = make([]int32, n)
	for i := range labels {
		row := raw[int64(i)*columns*width:][:columns*width]
		if columns > 1 {
			hot, ok := oneHot(row, element, width)
			if !ok {
				return nil, fmt.Sprintf("labels of shape %v, several an image, give no classes", h.Shape), nil
			}
			labels[i] = hot
			continue
		}
		v := element(row)
		if v != math.Trunc(v) || !(v >= 0 && v < 1<<20) {
			return nil, "", fmt.Errorf("label %v of image %d: expected a whole number from 0 to %d", v, i, 1<<20-1)
		}
		labels[i] = int32(v)
	}
	return labels, "", nil
}

// oneHot returns the place of the only one in a row of zeros.
func oneHot(row []byte, element func([]byte) float64, width int64) (at int32, ok bool) {
	for k := int64(0); k*width < int64(len(row)); k++ {
		switch element(row[k*width:]) {
		case 0:
		case 1:
			if ok {
				return 0, false
			}
			at, ok = int32(k), true
		default:
			return 0, false
		}
	}
	return at, ok
}

// npyElement returns how a number of a NumPy type is read, and its bytes.
func npyElement(typ string) (element func([]byte) float64, width int64, err error) {
	order := binary.ByteOrder(binary.LittleEndian)
	if strings.HasPrefix(typ, ">") {
		order = binary.BigEndian
	}
	switch typ[1:] {
	case "u1", "b1":
		return func(p []byte) float64 { return float64(p[0]) }, 1, nil
	case "i1":
		return func(p []byte) float64 { return float64(int8(p[0])) }, 1, nil
	case "u2":
		return func(p []byte) float64 { return float64(order.Uint16(p)) }, 2, nil
	case "i2":
		return func(p []byte) float64 { return float64(int16(order.Uint16(p))) }, 2, nil
	case "u4":
		return func(p []byte) float64 { return float64(order.Uint32(p)) }, 4, nil
	case "i4":
		return func(p []byte) float64 { return float64(int32(order.Uint32(p))) }, 4, nil
	case "f4":
		return func(p []byte) float64 { return float64(math.Float32frombits(order.Uint32(p))) }, 4, nil
	case "u8":
		return func(p []byte) float64 { return float64(order.Uint64(p)) }, 8, nil
	case "i8":
		return func(p []byte) float64 { return float64(int64(order.Uint64(p))) }, 8, nil
	case "f8":
		return func(p []byte) float64 { return math.Float64frombits(order.Uint64(p)) }, 8, nil
	}
	return nil, 0, fmt.Errorf("element type %s: expected numbers", typ)
}

func zipMember(z *zip.Reader, name string) *zip.File {
	for _, f := range z.File {
		if f.Name == name {
			return f
		}
	}
	return nil
}
