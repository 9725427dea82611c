package source

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"
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
	// read returns the bytes of file i, in buf if they fit.
	read func(i int, buf []byte) ([]byte, error)
}

func (f *files) Len() int          { return len(f.names) }
func (f *files) Classes() []string { return f.classes }
func (f *files) Channels() int     { return f.channels }
func (f *files) ID(i int) string   { return f.where + "/" + f.names[i] }

func (f *files) Label(i int) (int, bool) {
	if f.labels == nil || f.labels[i] < 0 {
		return 0, false
	}
	return int(f.labels[i]), true
}

// encoded recycles the buffers of undecoded files.
var encoded = sync.Pool{New: func() any { return new([]byte) }}

func (f *files) Decode(i int, m *data.Image) error {
	buf := encoded.Get().(*[]byte)
	defer encoded.Put(buf)
	b, err := f.read(i, (*buf)[:0])
	if err != nil {
		return fmt.Errorf("%s: %w", f.ID(i), err)
	}
	*buf = b
	if err := decode.Image(b, f.channels, m); err != nil {
		return fmt.Errorf("%s: %w", f.ID(i), err)
	}
	return nil
}

// maxFile is the largest encoded picture that is read.
const maxFile = 1 << 30

// probes is how many files, evenly spaced, tell the number of channels of a source.
const probes = 32

// probe sets the number of channels: 3 if any of a few evenly spaced files is in colour. Files that cannot be read
// are left to Decode, unless all of the probed ones are damaged.
func (f *files) probe() error {
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
				f.channels = max(f.channels, c)
				continue
			}
		}
		if first == nil {
			first = fmt.Errorf("%s: %w", f.ID(i), err)
		}
	}
	if f.channels == 0 {
		return fmt.Errorf("none of %d probed images can be read; the first error: %w", n, first)
	}
	return nil
}

// classify gives each file the class of its first folder. If a file lies directly at the top there are no classes.
func (f *files) classify() {
	var classes []string
	for _, name := range f.names {
		dir, _, ok := strings.Cut(name, "/")
		if !ok {
			return
		}
		classes = append(classes, dir)
	}
	sort.Strings(classes)
	f.classes = slices.Compact(classes)
	f.labels = make([]int32, len(f.names))
	for i, name := range f.names {
		dir, _, _ := strings.Cut(name, "/")
		at, _ := slices.BinarySearch(f.classes, dir)
		f.labels[i] = int32(at)
	}
}

// imageName tells whether a file is listed as a picture.
func imageName(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp":
		return !strings.HasPrefix(path.Base(name), ".")
	}
	return false
}

// imageFolder is a folder of pictures, with sub-folders for splits, for classes, or without.
type imageFolder struct{}

// Name is the format's name.
func (imageFolder) Name() string { return "folder of images" }

// Match accepts any folder.
func (imageFolder) Match(p *Path) (bool, error) { return p.Folder, nil }

// Open lists the pictures of a split.
func (imageFolder) Open(p *Path, split string) (data.Source, error) {
	var splits []string
	for _, name := range p.Folders {
		if knownSplit(name) {
			splits = append(splits, name)
		}
	}
	named := split != "" && slices.Contains(p.Folders, split)
	if len(splits) == 0 && !named {
		if err := onlyTrain(p.Name, split); err != nil {
			return nil, err
		}
		return openFolder(p.Name)
	}
	if len(splits) == 0 {
		splits = p.Folders
	}
	if named && !slices.Contains(splits, split) {
		splits = append(splits, split)
	}
	split, err := chooseSplit(p.Name, split, splits)
	if err != nil {
		return nil, err
	}
	return openFolder(filepath.Join(p.Name, split))
}

// openFolder lists the pictures below a folder.
func openFolder(dir string) (data.Source, error) {
	f := &files{where: strings.TrimSuffix(filepath.ToSlash(dir), "/")}
	if err := listFolder(dir, "", &f.names, 0); err != nil {
		return nil, err
	}
	if len(f.names) == 0 {
		return nil, fmt.Errorf("%s: no image below this folder; expected files ending in .png, .jpg, .jpeg, .gif, .bmp, .tif, .tiff or .webp", dir)
	}
	sort.Strings(f.names)
	f.classify()
	f.read = func(i int, buf []byte) ([]byte, error) {
		return readFile(filepath.Join(dir, filepath.FromSlash(f.names[i])), buf)
	}
	if err := f.probe(); err != nil {
		return nil, err
	}
	return f, nil
}

// maxDepth bounds the folders below folders, so that a link that leads back up ends.
const maxDepth = 16

func listFolder(root, below string, names *[]string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: folders are nested deeper than %d; is there a link back to a parent?", filepath.Join(root, below), maxDepth)
	}
	entries, err := os.ReadDir(filepath.Join(root, below))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name := path.Join(below, e.Name())
		kind := e.Type()
		if kind&fs.ModeSymlink != 0 {
			info, err := os.Stat(filepath.Join(root, name))
			if err != nil {
				return fmt.Errorf("%s: %w", filepath.Join(root, name), err)
			}
			kind = info.Mode().Type()
		}
		switch {
		case kind.IsDir():
			if err := listFolder(root, name, names, depth+1); err != nil {
				return err
			}
		case kind.IsRegular() && imageName(name):
			*names = append(*names, name)
		}
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
