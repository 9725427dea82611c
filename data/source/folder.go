package source

import (
	"path/filepath"
	"slices"
	"strings"
)

// imageFolder is a folder of pictures, with sub-folders for splits, for classes, or without.
type imageFolder struct{}

// Name returns what the data are.
func (imageFolder) Name() string { return "folder of images" }

// Match accepts a folder with a picture in it or below it.
func (imageFolder) Match(p *Path) (bool, error) {
	if !p.Folder {
		return false, nil
	}
	l, err := p.images()
	return err == nil && len(l.images) > 0, err
}

// Open lists the pictures of a split.
func (imageFolder) Open(p *Path, o Options) (*Dataset, error) {
	l, err := p.images()
	if err != nil {
		return nil, err
	}
	a, err := arrange(p.Name, l.images, o.Layout, o.Split)
	if err != nil {
		return nil, err
	}
	f := &files{where: strings.TrimSuffix(filepath.ToSlash(p.Name), "/")}
	paths := make([]string, len(a.chosen))
	for k, i := range a.chosen {
		f.names = append(f.names, l.images[i])
		paths[k] = filepath.Join(p.Name, filepath.FromSlash(l.images[i]))
	}
	if a.class != nil {
		if f.classes, f.labels, err = classNames(a.class); err != nil {
			return nil, err
		}
	}
	f.read = func(i int, buf []byte) ([]byte, error) { return readFile(paths[i], buf) }
	if err := f.want(o.Channels); err != nil {
		return nil, err
	}
	d := &Dataset{samples: f, Splits: a.splits, Split: a.split, Note: a.note, stamp: stampFiles(paths)}
	for _, s := range l.skipped {
		dir, _, _ := strings.Cut(s.Path, "/")
		if a.split != "" && dir != printable(a.split) && slices.Contains(a.splits, dir) {
			continue // of another split
		}
		if reason := s.Reason; tarName(s.Path) && reason == notPicture {
			s.Reason = archiveBeside
		}
		d.Skipped = append(d.Skipped, s)
	}
	for k, i := range a.left {
		d.Skipped = append(d.Skipped, Skipped{printable(l.images[i]), a.reason[k]})
	}
	return d, nil
}
