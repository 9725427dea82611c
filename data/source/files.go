package source

import (
	"fmt"
	"os"
	"sync"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/decode"
)

// files is a source of encoded pictures: a folder or an archive.
type files struct {
	where    string   // of the folder or archive, for messages
	names    []string // slash paths below it, sorted
	labels   []int32  // nil without classes
	classes  []string
	channels int
	probed   int // channels that the probed files have at most
	// read returns the bytes of file i, in buf if they fit.
	read func(i int, buf []byte) ([]byte, error)
}

func (f *files) Len() int          { return len(f.names) }
func (f *files) Classes() []string { return f.classes }
func (f *files) Channels() int     { return f.channels }
func (f *files) ID(i int) string   { return printable(f.where + "/" + f.names[i]) }

func (f *files) Label(i int) (int, bool) {
	if f.labels == nil || f.labels[i] < 0 {
		return 0, false
	}
	return int(f.labels[i]), true
}

// encoded recycles the buffers of undecoded files.
var encoded = sync.Pool{New: func() any { return new([]byte) }}

func (f *files) Decode(i int, s *data.Sample) error {
	s.Reset()
	buf := encoded.Get().(*[]byte)
	defer encoded.Put(buf)
	b, err := f.read(i, (*buf)[:0])
	if err != nil {
		return fmt.Errorf("%s: %w", f.ID(i), err)
	}
	*buf = b
	if err := f.decode(b, &s.Image); err != nil {
		return fmt.Errorf("%s: %w", f.ID(i), err)
	}
	return nil
}

func (f *files) stored() int { return f.probed }

// decode reads a picture as one of the source's channels. A coloured one becomes its luma where that is one.
func (f *files) decode(b []byte, m *data.Image) error {
	if f.channels != 1 {
		return decode.Image(b, f.channels, m)
	}
	stored, err := decode.Channels(b)
	if err != nil {
		return err
	}
	if err := decode.Image(b, stored, m); err != nil {
		return err
	}
	convert(m, 1)
	return nil
}

// maxFile is the largest encoded picture that is read.
const maxFile = 1 << 30

// probes is how many files, evenly spaced, tell the number of channels of a source.
const probes = 32

// want sets the number of channels: 1 or 3 if the caller wants that, else 3 if any of a few evenly spaced files is in
// colour and 1 if none is. Files that cannot be read are left to Decode, unless all of the probed ones are damaged.
func (f *files) want(channels int) error {
	n := min(probes, len(f.names))
	var first error
	var buf []byte
	for k := range n {
		i := k * len(f.names) / n
		b, err := f.read(i, buf[:0])
		if err == nil {
			buf = b
			var c int
			if c, err = decode.Channels(b); err == nil {
				f.probed = max(f.probed, c)
				continue
			}
		}
		if first == nil {
			first = fmt.Errorf("%s: %w", f.ID(i), err)
		}
	}
	if f.probed == 0 {
		return fmt.Errorf("none of %d probed images can be read; the first error: %w", n, first)
	}
	if f.channels = f.probed; channels == 1 || channels == 3 {
		f.channels = channels
	}
	return nil
}

// readFile is os.ReadFile into a buffer that is used again.
func readFile(name string, buf []byte) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("the file has %d bytes; at most %d are read", info.Size(), maxFile)
	}
	return readAt(file, 0, int(info.Size()), buf)
}
