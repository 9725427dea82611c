// Command subset cuts the embedded files out of the full Fashion-MNIST: the first images of each split, in order.
// The full set is the package dataset-fashion-mnist of Debian.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	from := flag.String("from", "/usr/share/datasets/fashion-mnist", "folder of the four full IDX files")
	to := flag.String("to", ".", "folder to write to")
	train := flag.Int("train", 5000, "training images to keep")
	test := flag.Int("test", 1000, "test images to keep")
	flag.Parse()
	for _, f := range []struct {
		name string
		keep int
		each int // bytes an element
		dims int
	}{
		{"train-images-idx3-ubyte.gz", *train, 28 * 28, 3},
		{"train-labels-idx1-ubyte.gz", *train, 1, 1},
		{"t10k-images-idx3-ubyte.gz", *test, 28 * 28, 3},
		{"t10k-labels-idx1-ubyte.gz", *test, 1, 1},
	} {
		if err := cut(filepath.Join(*from, f.name), filepath.Join(*to, f.name), f.keep, f.each, f.dims); err != nil {
			fmt.Fprintln(os.Stderr, "subset:", err)
			os.Exit(1)
		}
	}
}

// cut keeps the header and the first elements of an IDX file.
func cut(from, to string, keep, each, dims int) error {
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	b := make([]byte, 4+4*dims+keep*each)
	if _, err := io.ReadFull(z, b); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	binary.BigEndian.PutUint32(b[4:], uint32(keep))
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(to, out.Bytes(), 0o644)
}
