package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/sbinet/npyio"

	"github.com/dino-mx/dmx/tensor"
)

// The images of the tests: count grey squares of side pixels with a bright bar whose place is the class.
type samples struct {
	side, count, classes int
}

var tiny = samples{side: 16, count: 12, classes: 3}

func (s samples) label(i int) int { return i % s.classes }

// pixels is image i of a split, row by row.
func (s samples) pixels(split uint32, i int) []byte {
	r := tensor.NewRand(7, split, uint32(i), 1<<25)
	p := make([]byte, s.side*s.side)
	for k := range p {
		p[k] = byte(r.Intn(60))
		if (k%s.side)*s.classes/s.side == s.label(i) {
			p[k] += 150
		}
	}
	return p
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// pngFolder writes train/<class>/N.png and test/<class>/N.png.
func (s samples) pngFolder(t testing.TB, dir string) {
	for split, name := range []string{"train", "test"} {
		for i := range s.count {
			write(t, filepath.Join(dir, name, fmt.Sprintf("class%d", s.label(i)), fmt.Sprintf("%02d.png", i)), s.png(t, uint32(split), i))
		}
	}
}

func (s samples) png(t testing.TB, split uint32, i int) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, s.side, s.side))
	for k, v := range s.pixels(split, i) {
		img.SetGray(k%s.side, k/s.side, color.Gray{Y: v})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// idxFolder writes MNIST's four files, gzipped or not.
func (s samples) idxFolder(t testing.TB, dir string, zipped bool) {
	for split, name := range []string{"train", "t10k"} {
		var images, labels []byte
		images = binary.BigEndian.AppendUint32(images, 0x803)
		for _, n := range []int{s.count, s.side, s.side} {
			images = binary.BigEndian.AppendUint32(images, uint32(n))
		}
		labels = binary.BigEndian.AppendUint32(labels, 0x801)
		labels = binary.BigEndian.AppendUint32(labels, uint32(s.count))
		for i := range s.count {
			images = append(images, s.pixels(uint32(split), i)...)
			labels = append(labels, byte(s.label(i)))
		}
		for file, data := range map[string][]byte{name + "-images-idx3-ubyte": images, name + "-labels-idx1-ubyte": labels} {
			if zipped {
				file, data = file+".gz", gzipped(t, data)
			}
			write(t, filepath.Join(dir, file), data)
		}
	}
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// npz is a file in MedMNIST's layout: train_images [N,H,W], train_labels [N,1], and the same for test.
func (s samples) npz(t testing.TB) []byte { return s.npzShaped(t, s.count, s.side, s.side) }

// npzShaped is npz whose train_images claims another shape.
func (s samples) npzShaped(t testing.TB, claimed ...int) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	add := func(name string, data []byte, shape ...int) {
		w, err := z.Create(name + ".npy")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(npyArray("|u1", shape, data)); err != nil {
			t.Fatal(err)
		}
	}
	for split, name := range []string{"train", "test"} {
		var images, labels []byte
		for i := range s.count {
			images = append(images, s.pixels(uint32(split), i)...)
			labels = append(labels, byte(s.label(i)))
		}
		shape := []int{s.count, s.side, s.side}
		if split == 0 {
			shape = claimed
		}
		add(name+"_images", images, shape...)
		add(name+"_labels", labels, s.count, 1)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// npyArray is version 1.0 of NumPy's array format.
func npyArray(dtype string, shape []int, data []byte) []byte {
	dims := ""
	for _, d := range shape {
		dims += fmt.Sprintf("%d, ", d)
	}
	head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", dtype, dims)
	for (10+len(head)+1)%64 != 0 {
		head += " "
	}
	head += "\n"
	out := append([]byte("\x93NUMPY\x01\x00"), byte(len(head)), byte(len(head)>>8))
	return append(append(out, head...), data...)
}

func TestSamplesAreWhatNumPyReads(t *testing.T) {
	z, err := zip.NewReader(bytes.NewReader(tiny.npz(t)), int64(len(tiny.npz(t))))
	if err != nil {
		t.Fatal(err)
	}
	f, err := z.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	var got []uint8
	if err := npyio.Read(f, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != tiny.count*tiny.side*tiny.side || got[0] != tiny.pixels(0, 0)[0] {
		t.Errorf("%d values", len(got))
	}
}

// micro are overrides that make the quickstart recipe a model of a few hundred parameters on the tiny images.
var micro = []string{
	"model.hidden_size=16", "model.num_hidden_layers=1", "model.num_attention_heads=1", "model.patch_size=8", "model.image_size=16",
	"model.num_channels=0", "dataset.mean=[0.5]", "dataset.std=[0.5]", "dataset.size=[16, 16]",
	"crops.global_crops_size=16", "crops.local_crops_size=8",
	"dino_head.out_dim=8", "dino_head.hidden_dim=16", "dino_head.bottleneck_dim=8", "ibot.out_dim=8",
	"train.global_batch_size=4", "train.max_iterations=4", "train.warmup_iterations=1", "train.freeze_last_layer=1", "train.saveckp_freq=2",
	"train.num_workers=1", "evaluation.knn_k=3",
}
