package source

import (
	"archive/zip"
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/data"
)

// labelsOf lists the labels of a data set, -1 for none.
func labelsOf(d *Dataset) (labels []int) {
	for i := range d.Len() {
		label, ok := d.Label(i)
		if !ok {
			label = -1
		}
		labels = append(labels, label)
	}
	return labels
}

// Arrays are read by the place of their channels; volumes and what may be one are refused by name.
func TestShapesOfArrays(t *testing.T) {
	for _, c := range []struct {
		shape    []int
		channels int    // wanted
		want     string // channels x height x width, or a part of the error
	}{
		{[]int{2, 5, 6}, 0, "1x5x6"},
		{[]int{2, 5, 6}, 3, "3x5x6"},
		{[]int{2, 5, 6, 1}, 0, "1x5x6"},
		{[]int{2, 5, 6, 2}, 3, "3x5x6"},
		{[]int{2, 5, 6, 3}, 0, "3x5x6"},
		{[]int{2, 5, 6, 3}, 1, "1x5x6"},
		{[]int{2, 5, 6, 4}, 3, "3x5x6"},
		{[]int{2, 3, 8, 9}, 0, "3x8x9"},
		{[]int{2, 1, 8, 9}, 0, "1x8x9"},
		{[]int{2, 3, 3, 3}, 0, "3x3x3"},
		{[]int{2, 20, 20, 12}, 0, "12x20x20"},
		{[]int{2, 20, 20, 12}, 3, "12x20x20"},
		{[]int{2, 28, 28, 28}, 0, "volumes of 28 x 28 x 28 voxels, or pictures of 28 channels, are not supported"},
		{[]int{2, 30, 30, 20}, 0, "volumes of 30 x 30 x 20 voxels"},
		{[]int{2, 30, 30, 20}, 20, "20x30x30"},
		{[]int{2, 10, 10, 12}, 0, "volumes of 10 x 10 x 12 voxels"},
		{[]int{1, 2, 8, 9, 3}, 0, "expected [N, H, W] or [N, H, W, C]"},
	} {
		n := 1
		for _, d := range c.shape {
			n *= d
		}
		name := filepath.Join(t.TempDir(), "a.npz")
		write(t, name, npz(t, zip.Store, array{"train_images", "|u1", c.shape, counting(n)}))
		d, err := Open(name, Options{Channels: c.channels})
		if err != nil {
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: %v\nwant %s", c.shape, err, c.want)
			}
			continue
		}
		var s data.Sample
		if err := d.Decode(1, &s); err != nil {
			t.Fatal(err)
		}
		m := &s.Image
		if got := fmt.Sprintf("%dx%dx%d", m.Channels, m.Height, m.Width); got != c.want || d.Channels() != m.Channels || len(m.U8) != m.Channels*m.Height*m.Width {
			t.Errorf("%v: %s of %d samples, %d channels announced, want %s", c.shape, got, len(m.U8), d.Channels(), c.want)
		}
	}
}

// The samples of a picture are the same whether its channels come first or last, in 8 and in 16 bits.
func TestChannelsFirst(t *testing.T) {
	const h, w = 5, 7
	for _, bits := range []int{8, 16} {
		size := bits / 8
		first, last := make([]byte, 3*h*w*size), make([]byte, 3*h*w*size)
		for c := range 3 {
			for p := range h * w {
				for b := range size {
					v := byte(31*c + 5*p + 77*b)
					first[(c*h*w+p)*size+b], last[(p*3+c)*size+b] = v, v
				}
			}
		}
		typ := map[int]string{8: "|u1", 16: "<u2"}[bits]
		var images [2]data.Sample
		for i, a := range []array{{"train_images", typ, []int{1, 3, h, w}, first}, {"train_images", typ, []int{1, h, w, 3}, last}} {
			name := filepath.Join(t.TempDir(), "a.npz")
			write(t, name, npz(t, zip.Deflate, a))
			d, err := Open(name, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 != strings.Contains(d.Reading(), "channels first") {
				t.Errorf("%d bits: %s", bits, d.Reading())
			}
			if err := d.Decode(0, &images[i]); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(images[1], images[0]); diff != "" {
			t.Errorf("%d bits: %s", bits, diff)
		}
	}
}

// Pictures have the channels that the caller wants, as Pillow's convert makes them.
func TestWantedChannels(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "0.png"), picture(t, 9))
	write(t, filepath.Join(root, "1.png"), inColour(t))
	grey := []uint8{9, 9, 9, 9}
	colour := []uint8{10, 11, 12, 13, 100, 101, 102, 103, 200, 201, 202, 203}
	luma := []uint8{84, 85, 86, 87} // 0.299 R + 0.587 G + 0.114 B
	for _, c := range []struct {
		wanted int
		want   [][]uint8
	}{
		{0, [][]uint8{append(append(append([]uint8{}, grey...), grey...), grey...), colour}},
		{3, [][]uint8{append(append(append([]uint8{}, grey...), grey...), grey...), colour}},
		{1, [][]uint8{grey, luma}},
	} {
		d, err := Open(root, Options{Channels: c.wanted})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(d.Reading(), "colours are read as grey") != (c.wanted == 1) {
			t.Errorf("%d channels: %s", c.wanted, d.Reading())
		}
		for i, want := range c.want {
			var s data.Sample
			if err := d.Decode(i, &s); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, s.Image.U8); diff != "" {
				t.Errorf("picture %d in %d channels: %s", i, c.wanted, diff)
			}
		}
	}
}

// Class numbers may be one-hot, of any numeric type; several labels an image are no classes, and that is said.
func TestLabelsOfArrays(t *testing.T) {
	images := array{"train_images", "|u1", []int{3, 2, 2}, counting(12)}
	for _, c := range []struct {
		labels array
		want   string
	}{
		{array{"train_labels", "|u1", []int{3, 1}, []byte{2, 0, 1}}, "[2 0 1]"},
		{array{"train_labels", "|i1", []int{3}, []byte{2, 0, 1}}, "[2 0 1]"},
		{array{"train_labels", "<f4", []int{3}, []byte{0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0x80, 0x3f}}, "[2 0 1]"},
		{array{"train_labels", "|u1", []int{3, 3}, []byte{0, 0, 1, 1, 0, 0, 0, 1, 0}}, "[2 0 1]"},
		{array{"train_labels", "|b1", []int{3, 3}, []byte{0, 0, 1, 1, 0, 0, 0, 1, 0}}, "[2 0 1]"},
		{array{"train_labels", "|u1", []int{3, 3}, []byte{0, 1, 1, 1, 0, 0, 0, 1, 0}}, "several an image, give no classes"},
		{array{"train_labels", "|u1", []int{3, 3}, []byte{0, 0, 0, 1, 0, 0, 0, 1, 0}}, "several an image, give no classes"},
		{array{"train_labels", "|i1", []int{3}, []byte{2, 0xff, 1}}, "label -1 of image 1"},
		{array{"train_labels", "<f4", []int{3}, []byte{0, 0, 0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0}}, "label 0.5 of image 0"},
		{array{"train_labels", "|u1", []int{2}, []byte{2, 0}}, "shape [2] for 3 images"},
		{array{"train_labels", "|S1", []int{3}, []byte("abc")}, "element type |S1: expected numbers"},
	} {
		name := filepath.Join(t.TempDir(), "a.npz")
		write(t, name, npz(t, zip.Deflate, images, c.labels))
		d, err := Open(name, Options{})
		var got string
		switch {
		case err != nil:
			got = err.Error()
		case len(d.Classes()) == 0:
			got = d.Reading()
		default:
			got = fmt.Sprint(labelsOf(d))
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%v %v: %s, want %s", c.labels.typ, c.labels.shape, got, c.want)
		}
	}
}

// A byte that does not agree with the stored checksum is found when the data are opened.
func TestChecksums(t *testing.T) {
	pixels := bytes.Repeat([]byte{1, 2, 3, 4}, 300)
	images, labels := array{"train_images", "|u1", []int{300, 2, 2}, pixels}, array{"train_labels", "|u1", []int{300},
		make([]byte, 300)}
	mnist := zipped(t, idx([]int{300, 2, 2}, pixels))
	crc := func(b []byte) []byte { b[len(b)-6] ^= 1; return b } // in the CRC before the length
	flip := func(b, of []byte) []byte {
		at := bytes.Index(b, of)
		if at < 0 {
			t.Fatal("no such bytes")
		}
		b[at+100] ^= 0x10
		return b
	}
	// The CRC-32 of a deflated member stands behind it and in the directory, which is what counts.
	directory := func(b []byte) []byte { b[bytes.Index(b, []byte("PK\x01\x02"))+16] ^= 1; return b }
	for name, content := range map[string][]byte{
		"stored.npz":                 flip(npz(t, zip.Store, images, labels), pixels),
		"deflated.npz":               directory(npz(t, zip.Deflate, images, labels)),
		"stored labels.npz":          flip(npz(t, zip.Store, images, labels), make([]byte, 200)),
		"train-images-idx3-ubyte.gz": crc(mnist),
		"a.tgz":                      crc(zipped(t, archive(t, "a/0.png"))),
	} {
		path := filepath.Join(t.TempDir(), name)
		write(t, path, content)
		if strings.Contains(name, "idx") {
			path = filepath.Dir(path)
		}
		if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, content := range map[string][]byte{"stored.npz": npz(t, zip.Store, images, labels), "deflated.npz": npz(t, zip.Deflate, images, labels)} {
		path := filepath.Join(t.TempDir(), name)
		write(t, path, content)
		if _, err := Open(path, Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := filepath.Join(t.TempDir(), "train-images-idx3-ubyte")
	write(t, long, append(idx([]int{1, 2, 2}, counting(4)), 0))
	if _, err := Open(filepath.Dir(long), Options{}); err == nil || !strings.Contains(err.Error(), "more in it than its header says") {
		t.Errorf("a byte too many: %v", err)
	}
}

// Signed and float arrays are kept as they are stored; float samples outside of 0 to 1 are refused, for what they
// measure is not known.
func TestSignedAndFloatArrays(t *testing.T) {
	for _, c := range []struct {
		typ  string
		raw  []byte
		want any
	}{
		{"<i2", []byte{0x18, 0xfc, 0xd0, 0x07}, []int16{-1000, 2000}},
		{">i2", []byte{0xfc, 0x18, 0x07, 0xd0}, []int16{-1000, 2000}},
		{"<f4", []byte{0, 0, 0, 0x3f, 0, 0, 0x80, 0x3e}, []float32{.5, .25}},
		{">f4", []byte{0x3f, 0, 0, 0, 0x3e, 0x80, 0, 0}, []float32{.5, .25}},
		{"<f4", []byte{0, 0, 0, 0x3f, 0, 0, 0, 0x40}, "sample 1 is 2; float images must lie in 0 to 1"},
		{"<f4", []byte{0, 0, 0xc0, 0x7f, 0, 0, 0, 0x40}, "sample 0 is NaN"},
		{"<f8", make([]byte, 16), "expected uint8, uint16, int16, or float32 from 0 to 1"},
	} {
		name := filepath.Join(t.TempDir(), "a.npz")
		write(t, name, npz(t, zip.Deflate, array{"train_images", c.typ, []int{1, 1, 2}, c.raw}))
		var s data.Sample
		d, err := Open(name, Options{})
		if err == nil {
			err = d.Decode(0, &s)
		}
		var got any
		switch {
		case err != nil:
			if want, ok := c.want.(string); !ok || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", c.typ, err)
			}
			continue
		case s.Image.Type == data.I16:
			got = s.Image.I16
		default:
			got = s.Image.F32
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.typ, diff)
		}
	}
}
