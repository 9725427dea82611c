package source

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/data"
)

// idxName matches the names under which MNIST and its relatives publish IDX files.
var idxName = regexp.MustCompile(`^(?:.*[-_.])?(train|t10k|test|val|valid)-images[-.]idx[34]-ubyte(\.gz)?$`)

// idxFiles maps the splits to the image files of a folder; nil if the folder has none.
func idxFiles(dir string, names []string) (map[string]string, error) {
	var found map[string]string
	for _, name := range names {
		m := idxName.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		split := m[1]
		switch split {
		case "t10k":
			split = "test"
		case "valid":
			split = "val"
		}
		if other, ok := found[split]; ok {
			if strings.TrimSuffix(other, ".gz") == strings.TrimSuffix(name, ".gz") {
				continue // packed and unpacked side by side
			}
			return nil, fmt.Errorf("%s: %s and %s are both images of split %s; keep one of them in the folder", dir, other,
				name, split)
		}
		if found == nil {
			found = map[string]string{}
		}
		found[split] = name
	}
	return found, nil
}

// idxFolder is a folder with IDX files.
type idxFolder struct{}

// Name returns what the data are.
func (idxFolder) Name() string { return "IDX files" }

// Match accepts a folder with a file named as MNIST's images are. It is an error if two of them are images of one
// split.
func (idxFolder) Match(p *Path) (bool, error) {
	found, err := idxFiles(p.Name, p.Files)
	return found != nil, err
}

// Open reads the images and, if the file exists, the labels of a split.
func (idxFolder) Open(p *Path, o Options) (*Dataset, error) {
	found, err := idxFiles(p.Name, p.Files)
	if err != nil {
		return nil, err
	}
	splits := slices.Sorted(maps.Keys(found))
	split, err := chooseSplit(p.Name, o.Split, splits)
	if err != nil {
		return nil, err
	}
	images := found[split]
	name := filepath.Join(p.Name, images)
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	a, err := readIDXImages(name, b, o.Channels)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	a.want(o.Channels)
	read := []string{name}
	if labels := idxLabels(p, images); labels != "" {
		b, err := os.ReadFile(labels)
		if err != nil {
			return nil, err
		}
		l, err := readIDXLabels(b)
		if err == nil {
			err = a.setLabels(l)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", labels, err)
		}
		read = append(read, labels)
	}
	return &Dataset{samples: a, Splits: splits, Split: split, stamp: stampFiles(read)}, nil
}

// idxLabels returns the path of the labels that belong to a file of images, "" if there are none.
func idxLabels(p *Path, images string) string {
	stem := strings.TrimSuffix(images, ".gz")
	at := strings.LastIndex(stem, "images")
	kind := strings.NewReplacer("idx3", "idx1", "idx4", "idx1").Replace(stem[at+len("images"):])
	for _, name := range []string{stem[:at] + "labels" + kind, stem[:at] + "labels" + kind + ".gz"} {
		if slices.Contains(p.Files, name) {
			return filepath.Join(p.Name, name)
		}
	}
	return ""
}

// readIDXImages parses an IDX file of unsigned bytes with 3 or 4 dimensions.
func readIDXImages(where string, b []byte, channels int) (*arrays, error) {
	shape, r, err := idxHeader(b)
	if err != nil {
		return nil, err
	}
	a := &arrays{where: where, typ: data.U8}
	n, err := a.size(shape, channels)
	if err != nil {
		return nil, err
	}
	a.memory, err = readAll(r, n, int64(len(b)))
	return a, err
}

func readIDXLabels(b []byte) ([]int32, error) {
	shape, r, err := idxHeader(b)
	if err != nil {
		return nil, err
	}
	if len(shape) != 1 {
		return nil, fmt.Errorf("labels of shape %v: expected one dimension", shape)
	}
	raw, err := readAll(r, shape[0], int64(len(b)))
	if err != nil {
		return nil, err
	}
	labels := make([]int32, len(raw))
	for i, v := range raw {
		labels[i] = int32(v)
	}
	return labels, nil
}

// idxHeader reads two zero bytes, the element type, the number of dimensions, and the dimensions as big-endian
// 32-bit numbers, of a file that may be compressed with gzip.
func idxHeader(b []byte) ([]int64, io.Reader, error) {
	var r io.Reader = bytes.NewReader(b)
	if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, fmt.Errorf("damaged gzip: %w", err)
		}
		r = z
	}
	var magic [4]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil {
		return nil, nil, fmt.Errorf("truncated IDX header: %w", noEOF(err))
	}
	if magic[0] != 0 || magic[1] != 0 {
		return nil, nil, fmt.Errorf("not an IDX file: it starts with % x, expected 00 00 08 and the number of dimensions",
			magic)
	}
	if magic[2] != 8 {
		return nil, nil, fmt.Errorf("IDX element type 0x%02x: only unsigned bytes (0x08) are read", magic[2])
	}
	if magic[3] < 1 || magic[3] > 4 {
		return nil, nil, fmt.Errorf("IDX file of %d dimensions: expected 3 or 4 for images, 1 for labels", magic[3])
	}
	dims := make([]uint32, magic[3])
	if err := binary.Read(r, binary.BigEndian, dims); err != nil {
		return nil, nil, fmt.Errorf("truncated IDX header: %w", noEOF(err))
	}
	shape := make([]int64, len(dims))
	for i, d := range dims {
		shape[i] = int64(d)
	}
	return shape, r, nil
}
