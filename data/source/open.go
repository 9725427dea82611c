// Package source lists the samples of a path, in whatever format the files hold them.
package source

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// Formats are the formats that Open knows.
var Formats = []Format{embedded{}, npzFile{}, tarFile{}, idxFolder{}, tarFolder{}, imageFolder{}}

// Open finds the samples of a split in a path. The path is
//
//   - a folder of images (PNG, JPEG, GIF, BMP, TIFF, WebP), flat or with one sub-folder per class;
//   - the same below sub-folders train, val (valid, validation) and test;
//   - a folder with the IDX files of MNIST and its relatives (train-images-idx3-ubyte and so on, .gz or not);
//   - an .npz file in MedMNIST's layout (train_images, train_labels, val_images, …);
//   - a tar file (.tar, .tar.gz, .tgz), or a folder of such shards;
//   - embedded:fashion-mnist: the embedded subset, 5,000 training and 1,000 test images.
//
// The error is Ambiguous if the path can be read in more than one way and Options.Layout does not say which, and
// ErrNoSplit is in its chain if the path is readable but lacks the split.
func Open(path string, o Options) (*Dataset, error) {
	if o.Layout == "" {
		o.Layout = Auto
	}
	p, err := look(path)
	if err != nil {
		return nil, err
	}
	f, err := choose(p, o.Layout)
	if err != nil {
		return nil, fmt.Errorf("open data: %w", err)
	}
	d, err := f.Open(p, o)
	if err != nil {
		return nil, fmt.Errorf("open data: %w", err)
	}
	d.Format, d.where = f.Name(), printable(strings.TrimSuffix(filepath.ToSlash(p.Name), "/"))
	if d.root, err = root(path); err != nil {
		return nil, err
	}
	return d, nil
}

// root is the place of a path whatever folder the process works in and whatever links lead to it.
func root(path string) (string, error) {
	if Embedded(path) {
		return path, nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// choose returns the format that reads a path.
func choose(p *Path, layout Layout) (Format, error) {
	var found []Format
	pictures := false
	for _, f := range Formats {
		ok, err := f.Match(p)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		_, images := f.(imageFolder)
		if p.Folder && (layout == Archives && images || layout != Auto && layout != Archives && !images) {
			continue
		}
		found, pictures = append(found, f), pictures || images
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case pictures:
		a := &Ambiguous{Path: p.Name}
		for _, f := range found {
			if _, images := f.(imageFolder); !images {
				a.Readings = append(a.Readings, Reading{Archives, "the " + f.Name()})
			}
		}
		l, err := p.images()
		if err != nil {
			return nil, err
		}
		text := fmt.Sprintf("%s and leaves the archives out, as splits and flat do", count(len(l.images), "picture"))
		a.Readings = append(a.Readings, Reading{Classes, text})
		return nil, a
	case len(found) > 1:
		return nil, fmt.Errorf("%s: it holds %s and %s; put them in folders of their own", p.Name, found[0].Name(),
			found[1].Name())
	case !p.Folder:
		return nil, fmt.Errorf("%s: not a folder, and its name ends in none of .npz, .tar, .tar.gz and .tgz", p.Name)
	}
	return nil, p.nothing(layout)
}

// nothing is the error of a folder in which no format finds anything.
func (p *Path) nothing(layout Layout) error {
	l, err := p.images()
	if err != nil {
		return err
	}
	text := p.Name + ": no image below this folder; expected files ending in " + pictureNames
	if layout == Archives {
		text = p.Name + ": no tar or IDX files in this folder"
	}
	if left := Summary(l.skipped); left != "" {
		text += "; there is " + left
	}
	for _, name := range p.Files {
		if npzName(name) {
			return fmt.Errorf("%s; the path of the data may be %s", text, filepath.Join(p.Name, name))
		}
	}
	return errors.New(text)
}
