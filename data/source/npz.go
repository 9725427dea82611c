package source

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"hash"
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

// Name returns what the data are.
func (npzFile) Name() string { return ".npz file" }

// Match accepts a file that ends in .npz.
func (npzFile) Match(p *Path) (bool, error) {
	return !p.Folder && npzName(p.Name), nil
}

// npzName tells whether a file is an archive of arrays by its name.
func npzName(name string) bool { return strings.EqualFold(filepath.Ext(name), ".npz") }

// Open reads the arrays of a split, named <split>_images and <split>_labels, the layout of MedMNIST. Stored images are
// read from the file one by one; compressed ones are unpacked into memory. Checksums are compared first.
func (npzFile) Open(p *Path, o Options) (_ *Dataset, err error) {
	name := p.Name
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	var a *arrays
	defer func() {
		if err != nil || a.memory != nil {
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
		return nil, fmt.Errorf("%s: no array of images; expected names like train_images and train_labels, there is %s",
			name, npzNames(z))
	}
	split, err := chooseSplit(name, o.Split, splits)
	if err != nil {
		return nil, err
	}
	if a, err = npzImages(file, z, split+"_images.npy", o.Channels); err != nil {
		return nil, fmt.Errorf("%s: array %s_images: %w", name, split, err)
	}
	a.where = name + "/" + split
	labels, note, err := npzLabels(z, split+"_labels.npy", a.n)
	if err == nil && labels != nil {
		err = a.setLabels(labels)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: array %s_labels: %w", name, split, err)
	}
	a.want(o.Channels)
	if a.planar {
		note = strings.TrimPrefix(note+"; images with channels first, [N, C, H, W]", "; ")
	}
	return &Dataset{samples: a, Splits: splits, Split: split, Note: note, stamp: func(h hash.Hash) error {
		for _, f := range z.File {
			text(h, f.Name)
			number(h, int64(f.CRC32))
		}
		return stampFiles([]string{name})(h)
	}}, nil
}

// npzNames lists the arrays of a file, the first few of many.
func npzNames(z *zip.Reader) string {
	var names []string
	for _, f := range z.File {
		if len(names) == 8 {
			names = append(names, fmt.Sprintf("and %d more", len(z.File)-8))
			break
		}
		names = append(names, printable(strings.TrimSuffix(f.Name, ".npy")))
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

func npzImages(file io.ReaderAt, z *zip.Reader, member string, channels int) (*arrays, error) {
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
		a.typ = data.U8
	case "<u2", ">u2":
		a.typ = data.U16
	case "<i2", ">i2":
		a.typ = data.I16
	case "<f4", ">f4":
		a.typ = data.F32
	default:
		return nil, fmt.Errorf("element type %s: expected uint8, uint16, int16, or float32 from 0 to 1", h.Type)
	}
	if h.Type[0] == '>' {
		a.order = binary.BigEndian
	}
	total, err := a.size(h.Shape, channels)
	if err != nil {
		return nil, err
	}
	if uint64(total)+uint64(h.Bytes) != f.UncompressedSize64 {
		return nil, fmt.Errorf("shape %v needs %d bytes, the array has %d", h.Shape, total,
			int64(f.UncompressedSize64)-h.Bytes)
	}
	if f.Method == zip.Store {
		start, err := f.DataOffset()
		if err != nil {
			return nil, fmt.Errorf("damaged .npz: %w", err)
		}
		start += h.Bytes
		a.read = func(off int64, n int, buf []byte) ([]byte, error) { return readAt(file, start+off, n, buf) }
		if _, err := io.CopyN(io.Discard, r, total); err != nil {
			return nil, fmt.Errorf("damaged: %w", noEOF(err))
		}
		return a, atEnd(r)
	}
	if total > maxMemory {
		return nil, fmt.Errorf("%d bytes unpacked, at most %d are kept in memory; save it with numpy.savez, which "+
			"does not compress",
			total, int64(maxMemory))
	}
	a.memory, err = readAll(r, total, int64(f.CompressedSize64))
	return a, err
}
