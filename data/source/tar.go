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

	"github.com/dino-mx/dmx/data"
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
func (tarFile) Open(p *Path, split string) (data.Source, error) {
	return openTar(p.Name, []string{p.Name}, split)
}

// openTar lists the pictures of some shards. Plain shards are read in place by position; compressed ones, which can
// only be read from front to back, are unpacked into memory. The class of a picture is its folder, or the number in
// a file of the same name ending in .cls, as webdataset writes them.
func openTar(where string, shards []string, split string) (src data.Source, err error) {
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
	for s, name := range shards {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		open = append(open, file)
		found, r, err := indexTar(file, s, &memory)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		readers[s] = r
		members = append(members, found...)
	}
	members, err = splitMembers(where, members, split)
	if err != nil {
		return nil, err
	}
	if len(members) == 0 {
		return nil, fmt.Errorf("%s: no image inside; expected names ending in .png, .jpg, .jpeg, .gif, .bmp, .tif, .tiff or .webp", where)
	}
	sort.SliceStable(members, func(i, j int) bool {
		if a, b := &members[i], &members[j]; a.shard != b.shard {
			return a.shard < b.shard
		}
		return members[i].name < members[j].name
	})
	f := &files{where: where, names: make([]string, len(members))}
	for i, m := range members {
		f.names[i] = m.name
	}
	if err := f.classifyMembers(members); err != nil {
		return nil, err
	}
	if len(shards) > 1 {
		for i, m := range members {
			f.names[i] = filepath.Base(shards[m.shard]) + "/" + m.name
		}
	}
	f.read = func(i int, buf []byte) ([]byte, error) {
		return readAt(readers[members[i].shard], members[i].off, members[i].size, buf)
	}
	return f, f.probe()
}

// classifyMembers takes the classes from sidecars if there are any, else from folders.
func (f *files) classifyMembers(members []tarMember) error {
	top := int32(-1)
	for _, m := range members {
		top = max(top, m.label)
	}
	if top < 0 {
		f.classify()
		return nil
	}
	f.labels = make([]int32, len(members))
	for i, m := range members {
		f.labels[i] = m.label
	}
	for k := range top + 1 {
		f.classes = append(f.classes, strconv.Itoa(int(k)))
	}
	return nil
}

// splitMembers keeps the pictures of a split if the top folders are splits.
func splitMembers(where string, members []tarMember, want string) ([]tarMember, error) {
	var have []string
	seen := map[string]bool{}
	for _, m := range members {
		top, _, ok := strings.Cut(m.name, "/")
		if !ok || !knownSplit(top) {
			return members, onlyTrain(where, want)
		}
		if !seen[top] {
			seen[top] = true
			have = append(have, top)
		}
	}
	if len(have) == 0 {
		return nil, nil
	}
	split, err := chooseSplit(where, want, have)
	if err != nil {
		return nil, err
	}
	var kept []tarMember
	for _, m := range members {
		if rest, ok := strings.CutPrefix(m.name, split+"/"); ok {
			m.name = rest
			kept = append(kept, m)
		}
	}
	return kept, nil
}

// indexTar walks one shard. memory is what may still be unpacked.
func indexTar(file *os.File, shard int, memory *int64) ([]tarMember, io.ReaderAt, error) {
	var lead [2]byte
	if _, err := file.ReadAt(lead[:], 0); err != nil {
		return nil, nil, fmt.Errorf("truncated tar: %w", noEOF(err))
	}
	var plain io.ReaderAt = file
	var stream io.ReadSeeker = file
	if lead == [2]byte{0x1f, 0x8b} {
		z, err := gzip.NewReader(file)
		if err != nil {
			return nil, nil, fmt.Errorf("damaged gzip: %w", err)
		}
		var buf bytes.Buffer
		n, err := io.Copy(&buf, io.LimitReader(z, *memory+1))
		if err != nil {
			return nil, nil, fmt.Errorf("damaged gzip: %w", noEOF(err))
		}
		if *memory -= n; *memory < 0 {
			return nil, nil, fmt.Errorf("more than %d bytes unpacked; unpack it with gunzip, a plain tar is read in place", int64(maxMemory))
		}
		r := bytes.NewReader(buf.Bytes())
		plain, stream = r, r
	}
	end, err := stream.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = stream.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, nil, err
	}
	var members []tarMember
	sidecars := map[string]int32{}
	t := tar.NewReader(stream)
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("damaged tar: %w", err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		name := strings.TrimPrefix(path.Clean(h.Name), "/")
		at, err := stream.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, nil, err
		}
		if h.Size < 0 || h.Size > maxFile || at+h.Size > end {
			return nil, nil, fmt.Errorf("damaged tar: %s of %d bytes at %d does not fit a file of %d bytes", name, h.Size, at, end)
		}
		switch ext := path.Ext(name); {
		case imageName(name):
			members = append(members, tarMember{name: name, shard: shard, off: at, size: int(h.Size), label: -1})
		case ext == ".cls":
			text, err := io.ReadAll(io.LimitReader(t, 32))
			if err != nil {
				return nil, nil, fmt.Errorf("damaged tar: %s: %w", name, err)
			}
			k, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil || k < 0 || k >= 1<<20 {
				return nil, nil, fmt.Errorf("%s: label %q: expected a number from 0 to %d", name, text, 1<<20-1)
			}
			sidecars[strings.TrimSuffix(name, ext)] = int32(k)
		}
	}
	for i := range members {
		if k, ok := sidecars[strings.TrimSuffix(members[i].name, path.Ext(members[i].name))]; ok {
			members[i].label = k
		}
	}
	if len(members) == 0 && end == 0 {
		return nil, nil, errors.New("the file is empty")
	}
	return members, plain, nil
}
