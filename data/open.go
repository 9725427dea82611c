package data

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Open finds the samples of a split in a path. The path is
//
//   - a folder of images (PNG, JPEG, GIF, BMP, TIFF, WebP), flat or with one sub-folder per class;
//   - the same below sub-folders train, val (valid, validation) and test;
//   - a folder with the IDX files of MNIST and its relatives (train-images-idx3-ubyte and so on, .gz or not);
//   - an .npz file in MedMNIST's layout (train_images, train_labels, val_images, …);
//   - a tar file (.tar, .tar.gz, .tgz), or a folder of such shards;
//   - builtin:fashion-mnist, or embedded:fashion-mnist: the embedded subset, 5,000 training and 1,000 test images.
//
// The split is train (also the meaning of an empty one), val, test, auto (test if there is one, else val), or any other name
// that a sub-folder or an array has. A path without splits has only its training split, which is all of it.
//
// A source has 3 channels if any of a few evenly spaced pictures is in colour, else 1. Grey pictures of a
// source in colour fill all three; a coloured picture of a grey source is an error of Decode.
func Open(path, split string) (Source, error) {
	for _, prefix := range []string{"builtin:", "embedded:"} {
		if name, ok := strings.CutPrefix(path, prefix); ok {
			return openBuiltin(path, name, split)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w; expected a folder of images, an IDX folder, an .npz or .tar file, or builtin:fashion-mnist", err)
	}
	src, err := open(path, split, info.IsDir())
	if err != nil {
		return nil, fmt.Errorf("open data: %w", err)
	}
	return src, nil
}

func open(path, split string, folder bool) (Source, error) {
	if !folder {
		switch {
		case strings.EqualFold(filepath.Ext(path), ".npz"):
			return openNPZ(path, split)
		case tarName(path):
			return openTar(path, []string{path}, split)
		}
		return nil, fmt.Errorf("%s: not a folder, and its name ends in none of .npz, .tar, .tar.gz and .tgz", path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var names, folders, shards []string
	for _, e := range entries {
		name := e.Name()
		info, err := os.Stat(filepath.Join(path, name))
		switch {
		case err != nil || strings.HasPrefix(name, "."):
		case info.IsDir():
			folders = append(folders, name)
		default:
			names = append(names, name)
			if tarName(name) {
				shards = append(shards, name)
			}
		}
	}
	idx, err := idxFiles(path, names)
	switch {
	case err != nil:
		return nil, err
	case idx != nil:
		split, err := chooseSplit(path, split, sortedKeys(idx))
		if err != nil {
			return nil, err
		}
		return openIDX(path, idx[split])
	case len(shards) > 0:
		return openShards(path, shards, split)
	}
	var splits []string
	for _, name := range folders {
		if knownSplit(name) {
			splits = append(splits, name)
		}
	}
	if len(splits) > 0 || split != "" && contains(folders, split) {
		if len(splits) == 0 {
			splits = folders
		}
		if contains(folders, split) && !contains(splits, split) {
			splits = append(splits, split)
		}
		split, err := chooseSplit(path, split, splits)
		if err != nil {
			return nil, err
		}
		return openFolder(filepath.Join(path, split))
	}
	if err := onlyTrain(path, split); err != nil {
		return nil, err
	}
	return openFolder(path)
}

// openShards opens the shards whose names start with the split, or all of them if none starts with any.
func openShards(dir string, shards []string, split string) (Source, error) {
	groups := map[string][]string{}
	for _, s := range shards {
		key, _, _ := strings.Cut(s, ".")
		key = strings.TrimRight(key, "0123456789_-")
		groups[key] = append(groups[key], filepath.Join(dir, s))
	}
	named := false
	for key := range groups {
		named = named || knownSplit(key) || key == split && split != ""
	}
	if !named {
		var all []string
		for _, s := range shards {
			all = append(all, filepath.Join(dir, s))
		}
		return openTar(dir, all, split)
	}
	key, err := chooseSplit(dir, split, sortedKeys(groups))
	if err != nil {
		return nil, err
	}
	return openTar(dir, groups[key], "")
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
