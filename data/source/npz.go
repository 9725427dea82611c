package source

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/npy"
)

// maxMemory is the largest array or archive that is unpacked into memory.
const maxMemory = 8 << 30

// npzSplits lists the prefixes X for which the file has an array X_images.
func npzSplits(z *zip.Reader) []string {
	var splits []string
	for _, f := range z.File {
		if s, ok := strings.CutSuffix(f.Name, "_images.npy"); ok {
			splits = append(splits, s)
		}
	}
	return splits
}

// npzFile is an archive of NumPy arrays.
type npzFile struct{}

// Name is the format's extension.
func (npzFile) Name() string { return ".npz file" }

// Match accepts a file that ends in .npz.
func (npzFile) Match(p *Path) (bool, error) {
	return !p.Folder && strings.EqualFold(filepath.Ext(p.Name), ".npz"), nil
}

// Open reads the arrays of a split.
func (npzFile) Open(p *Path, split string) (data.Source, error) { return openNPZ(p.Name, split) }

// openNPZ reads an archive of NumPy arrays named <split>_images and <split>_labels, the layout of MedMNIST. Stored
// images are read from the file one by one; compressed ones are unpacked into memory.
func openNPZ(name, split string) (src data.Source, err error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if a, ok := src.(*arrays); err != nil || ok && a.memory != nil {
			file.Close()
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	z, err := zip.NewReader(file, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: damaged .npz: %w", name, err)
	}
	splits := npzSplits(z)
	if len(splits) == 0 {
		return nil, fmt.Errorf("%s: no array of images; expected names like train_images and train_labels", name)
	}
	split, err = chooseSplit(name, split, splits)
	if err != nil {
		return nil, err
	}
	a, err := npzImages(file, z, split+"_images.npy")
	if err != nil {
		return nil, fmt.Errorf("%s: array %s_images: %w", name, split, err)
	}
	a.where = name + "/" + split
	labels, err := npzLabels(z, split+"_labels.npy", a.n)
	if err == nil && labels != nil {
		err = a.setLabels(labels)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: array %s_labels: %w", name, split, err)
	}
	return a, nil
}

func zipMember(z *zip.Reader, name string) *zip.File {
	for _, f := range z.File {
		if f.Name == name {
			return f
		}
	}
	return nil
}

func npzImages(file io.ReaderAt, z *zip.Reader, member string) (*arrays, error) {
	f := zipMember(z, member)
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("damaged .npz: %w", err)
	}
	defer r.Close()
	h, err := npy.ReadHeader(r)
	if err != nil {
		return nil, err
	}
	a := &arrays{order: binary.LittleEndian}
	switch h.Type {
	case "|u1", "<u1", "=u1":
		a.bits = 8
	case "<u2":
		a.bits = 16
	case ">u2":
		a.bits, a.order = 16, binary.BigEndian
	default:
		return nil, fmt.Errorf("element type %s: expected uint8 or uint16", h.Type)
	}
	total, err := a.size(h.Shape)
	if err != nil {
		return nil, err
	}
	if uint64(total)+uint64(h.Bytes) != f.UncompressedSize64 {
		return nil, fmt.Errorf("shape %v needs %d bytes, the array has %d", h.Shape, total, int64(f.UncompressedSize64)-h.Bytes)
	}
	if f.Method == zip.Store {
		start, err := f.DataOffset()
		if err != nil {
			return nil, fmt.Errorf("damaged .npz: %w", err)
		}
		start += h.Bytes
		a.read = func(off int64, n int, buf []byte) ([]byte, error) { return readAt(file, start+off, n, buf) }
		if _, err := a.read(total-1, 1, nil); err != nil {
			return nil, err
		}
		return a, nil
	}
	if total > maxMemory {
		return nil, fmt.Errorf("%d bytes unpacked, at most %d are kept in memory; save it with numpy.savez, which does not compress", total, int64(maxMemory))
	}
	a.memory, err = readExactly(r, total, int64(f.CompressedSize64))
	return a, err
}

// npzLabels reads class numbers of shape [N] or [N, 1]. Other shapes are several labels an image: no class.
func npzLabels(z *zip.Reader, member string, n int) ([]int32, error) {
	f := zipMember(z, member)
	if f == nil {
		return nil, nil
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("damaged .npz: %w", err)
	}
	defer r.Close()
	h, err := npy.ReadHeader(r)
	if err != nil {
		return nil, err
	}
	if len(h.Shape) == 2 && h.Shape[1] > 1 {
		return nil, nil
	}
	count := int64(1)
	for _, d := range h.Shape {
		if d != 1 && count != 1 || d > 1<<31 {
			return nil, fmt.Errorf("shape %v: expected [N] or [N, 1]", h.Shape)
		}
		count *= d
	}
	if count != int64(n) {
		return nil, fmt.Errorf("shape %v for %d images", h.Shape, n)
	}
	order, width := binary.ByteOrder(binary.LittleEndian), int64(0)
	if strings.HasPrefix(h.Type, ">") {
		order = binary.BigEndian
	}
	switch h.Type[1:] {
	case "u1", "i1", "b1":
		width = 1
	case "u2", "i2":
		width = 2
	case "u4", "i4":
		width = 4
	case "u8", "i8":
		width = 8
	default:
		return nil, fmt.Errorf("element type %s: expected integers", h.Type)
	}
	raw, err := readExactly(r, count*width, int64(f.CompressedSize64))
	if err != nil {
		return nil, err
	}
	labels := make([]int32, n)
	for i := range labels {
		var v int64
		switch p := raw[int64(i)*width:]; width {
		case 1:
			v = int64(int8(p[0]))
			if h.Type[1] == 'u' {
				v = int64(p[0])
			}
		case 2:
			v = int64(int16(order.Uint16(p)))
			if h.Type[1] == 'u' {
				v = int64(order.Uint16(p))
			}
		case 4:
			v = int64(int32(order.Uint32(p)))
		default:
			v = int64(order.Uint64(p))
		}
		if v < 0 || v >= 1<<20 {
			return nil, fmt.Errorf("label %d of image %d: expected 0 to %d", v, i, 1<<20-1)
		}
		labels[i] = int32(v)
	}
	return labels, nil
}
