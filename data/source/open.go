// Package source lists the samples of a path, in whatever format the files hold them.
package source

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/dino-mx/dmx/data"
)

// Format is one way in which files hold a data set.
type Format interface {
	// Name is the word for the format in messages.
	Name() string
	// Match tells whether the format reads the path.
	Match(p *Path) (bool, error)
	// Open lists the samples of a split.
	Open(p *Path, split string) (data.Source, error)
}

// Formats are the formats that Open knows. The first that matches a path reads it.
var Formats = []Format{builtin{}, npzFile{}, tarFile{}, idxFolder{}, tarFolder{}, imageFolder{}}

// Path is a path with what lies directly in it.
type Path struct {
	Name    string
	Folder  bool
	Files   []string // without hidden ones
	Folders []string // without hidden ones
}

// look lists a path.
func look(name string) (*Path, error) {
	if Embedded(name) {
		return &Path{Name: name}, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("%w; expected a folder of images, an IDX folder, an .npz or .tar file, or embedded:fashion-mnist", err)
	}
	p := &Path{Name: name, Folder: info.IsDir()}
	if !p.Folder {
		return p, nil
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(name, e.Name()))
		switch {
		case err != nil || strings.HasPrefix(e.Name(), "."):
		case info.IsDir():
			p.Folders = append(p.Folders, e.Name())
		default:
			p.Files = append(p.Files, e.Name())
		}
	}
	return p, nil
}

// Open finds the samples of a split in a path. The path is
//
//   - a folder of images (PNG, JPEG, GIF, BMP, TIFF, WebP), flat or with one sub-folder per class;
//   - the same below sub-folders train, val (valid, validation) and test;
//   - a folder with the IDX files of MNIST and its relatives (train-images-idx3-ubyte and so on, .gz or not);
//   - an .npz file in MedMNIST's layout (train_images, train_labels, val_images, …);
//   - a tar file (.tar, .tar.gz, .tgz), or a folder of such shards;
//   - embedded:fashion-mnist: the embedded subset, 5,000 training and 1,000 test images.
//
// The split is train (also the meaning of an empty one), val, test, auto (test if there is one, else val), or any other name
// that a sub-folder or an array has. A path without splits has only its training split, which is all of it.
//
// A source has 3 channels if any of a few evenly spaced pictures is in colour, else 1. Grey pictures of a
// source in colour fill all three; a coloured picture of a grey source is an error of Decode.
func Open(path, split string) (data.Source, error) {
	p, err := look(path)
	if err != nil {
		return nil, err
	}
	for _, f := range Formats {
		ok, err := f.Match(p)
		if err == nil && !ok {
			continue
		}
		var src data.Source
		if err == nil {
			src, err = f.Open(p, split)
		}
		if err != nil {
			return nil, fmt.Errorf("open data: %w", err)
		}
		return src, nil
	}
	return nil, fmt.Errorf("open data: %s: not a folder, and its name ends in none of .npz, .tar, .tar.gz and .tgz", path)
}
