package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// tarMember is a picture inside a shard.
type tarMember struct {
	name  string // inside the shard
	shard int
	off   int64
	size  int
	label int32 // from a sidecar, -1 without
}

// tarName tells whether a file is a shard.
func tarName(name string) bool {
	n := strings.ToLower(name)
	return strings.HasSuffix(n, ".tar") || strings.HasSuffix(n, ".tar.gz") || strings.HasSuffix(n, ".tgz")
}

// tarFile is one archive.
type tarFile struct{}

// Name is the format's name.
func (tarFile) Name() string { return "tar file" }

// Match accepts a file that ends in .tar, .tar.gz or .tgz.
func (tarFile) Match(p *Path) (bool, error) { return !p.Folder && tarName(p.Name), nil }

// Open lists the pictures of a split.
func (tarFile) Open(p *Path, o Options) (*Dataset, error) {
	return openTar(p.Name, []string{p.Name}, o)
}

// openTar lists the pictures of some shards. Plain shards are read in place by position; compressed ones, which can
// only be read from front to back, are unpacked into memory. The class of a picture is its folder, or the number in
// a file of the same name ending in .cls, as webdataset writes them.
func openTar(where string, shards []string, o Options) (d *Dataset, err error) {
	var members []tarMember
	readers := make([]io.ReaderAt, len(shards))
	var open []*os.File
	defer func() {
		if err != nil {
			for _, f := range open {
				f.Close()
			}
		}
	}()
	memory := int64(maxMemory)
	d = &Dataset{}
	for s, name := range shards {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		open = append(open, file)
		found, err := indexTar(file, s, &memory)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		readers[s] = found.reader
		members = append(members, found.members...)
		d.Skipped = append(d.Skipped, found.skipped...)
	}
	if len(members) == 0 {
		return nil, fmt.Errorf("%s: no image inside; expected names ending in "+pictureNames, where)
	}
	sort.SliceStable(members, func(i, j int) bool {
		if a, b := &members[i], &members[j]; a.shard != b.shard {
			return a.shard < b.shard
		}
		return members[i].name < members[j].name
	})
	names, numbered := make([]string, len(members)), false
	for i, m := range members {
		names[i] = m.name
		numbered = numbered || m.label >= 0
	}
	a, err := arrange(where, names, o.Layout, o.Split)
	if err != nil {
		return nil, err
	}
	f := &files{where: where}
	var chosen []tarMember
	for _, i := range a.chosen {
		m := members[i]
		chosen = append(chosen, m)
		name := m.name
		if a.split != "" {
			name = strings.TrimPrefix(name, a.split+"/")
		}
		if len(shards) > 1 {
			name = filepath.Base(shards[m.shard]) + "/" + name
		}
		f.names = append(f.names, name)
	}
	switch {
	case numbered:
		f.classes, f.labels = sidecarClasses(chosen)
	case a.class != nil:
		if f.classes, f.labels, err = classNames(a.class); err != nil {
			return nil, err
		}
	}
	f.read = func(i int, buf []byte) ([]byte, error) {
		return readAt(readers[chosen[i].shard], chosen[i].off, chosen[i].size, buf)
	}
	for k, i := range a.left {
		d.Skipped = append(d.Skipped, Skipped{printable(names[i]), a.reason[k]})
	}
	d.samples, d.Splits, d.Split, d.Note, d.stamp = f, a.splits, a.split, a.note, stampFiles(shards)
	return d, f.want(o.Channels)
}

// sidecarClasses returns the classes that sidecars number, named by their numbers.
func sidecarClasses(members []tarMember) (classes []string, labels []int32) {
	labels = make([]int32, len(members))
	for i, m := range members {
		labels[i] = m.label
		for int(m.label) >= len(classes) {
			classes = append(classes, strconv.Itoa(len(classes)))
		}
	}
	return classes, labels
}

// tarIndex is the pictures of one shard.
type tarIndex struct {
	members []tarMember
	reader  io.ReaderAt
	skipped []Skipped
}

// indexTar walks one shard. memory is what may still be unpacked.
func indexTar(file *os.File, shard int, memory *int64) (*tarIndex, error) {
	var lead [2]byte
	if _, err := file.ReadAt(lead[:], 0); err != nil {
		return nil, fmt.Errorf("truncated tar: %w", noEOF(err))
	}
	index := &tarIndex{reader: file}
	var stream io.ReadSeeker = file
	if lead == [2]byte{0x1f, 0x8b} {
		z, err := gzip.NewReader(file)
		if err != nil {
			return nil, fmt.Errorf("damaged gzip: %w", err)
		}
		var buf bytes.Buffer
		n, err := io.Copy(&buf, io.LimitReader(z, *memory+1))
		if err != nil {
			return nil, fmt.Errorf("damaged gzip: %w", noEOF(err))
		}
		if *memory -= n; *memory < 0 {
			return nil, fmt.Errorf("more than %d bytes unpacked; unpack it with gunzip, a plain tar is read in place",
				int64(maxMemory))
		}
		r := bytes.NewReader(buf.Bytes())
		index.reader, stream = r, r
	}
	end, err := stream.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = stream.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, err
	}
	sidecars := map[string]int32{}
	t := tar.NewReader(stream)
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("damaged tar: %w", err)
		}
		name := strings.TrimPrefix(path.Clean(h.Name), "/")
		skip := func(reason string) { index.skipped = append(index.skipped, Skipped{printable(name), reason}) }
		if h.Typeflag == tar.TypeDir {
			continue
		}
		if h.Typeflag != tar.TypeReg {
			skip(notInArchive)
			continue
		}
		at, err := stream.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		if h.Size < 0 || h.Size > maxFile || at+h.Size > end {
			return nil, fmt.Errorf("damaged tar: %s of %d bytes at %d does not fit a file of %d bytes", name, h.Size, at, end)
		}
		switch ext := path.Ext(name); {
		case imageName(name):
			index.members = append(index.members, tarMember{name: name, shard: shard, off: at, size: int(h.Size), label: -1})
		case ext == ".cls":
			text, err := io.ReadAll(io.LimitReader(t, 32))
			if err != nil {
				return nil, fmt.Errorf("damaged tar: %s: %w", name, err)
			}
			k, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil || k < 0 || k >= 1<<20 {
				return nil, fmt.Errorf("%s: label %q: expected a number from 0 to %d", name, text, 1<<20-1)
			}
			sidecars[strings.TrimSuffix(name, ext)] = int32(k)
		case pictureName(name):
			skip(hidden)
		default:
			skip(notPicture)
		}
	}
	for i := range index.members {
		m := &index.members[i]
		if k, ok := sidecars[strings.TrimSuffix(m.name, path.Ext(m.name))]; ok {
			m.label = k
		}
	}
	if len(index.members) == 0 && end == 0 {
		return nil, errors.New("the file is empty")
	}
	return index, nil
}
