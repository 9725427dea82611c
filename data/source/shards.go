package source

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// tarFolder is a folder of shards.
type tarFolder struct{}

// Name returns what the data are.
func (tarFolder) Name() string { return "tar files" }

// Match accepts a folder with a tar file.
func (tarFolder) Match(p *Path) (bool, error) {
	return p.Folder && slices.ContainsFunc(p.Files, tarName), nil
}

// Open reads the shards whose names start with the split, or all of them if none starts with any.
func (tarFolder) Open(p *Path, o Options) (*Dataset, error) {
	groups := map[string][]string{}
	var all []string
	named := false
	var skipped []Skipped
	for _, s := range p.Files {
		if !tarName(s) {
			skipped = append(skipped, Skipped{printable(s), besideArchives})
			continue
		}
		key, _, _ := strings.Cut(s, ".")
		key = strings.TrimRight(key, "0123456789_-")
		path := filepath.Join(p.Name, s)
		groups[key] = append(groups[key], path)
		all = append(all, path)
		named = named || knownSplit(key) || key == o.Split && o.Split != ""
	}
	inside := o
	if inside.Layout == Archives {
		inside.Layout = Auto
	}
	splits, split := []string(nil), ""
	if named {
		var err error
		splits = slices.Sorted(maps.Keys(groups))
		if split, err = chooseSplit(p.Name, o.Split, splits); err != nil {
			return nil, err
		}
		all, inside.Split = groups[split], ""
	}
	d, err := openTar(p.Name, all, inside)
	if err != nil {
		return nil, err
	}
	d.Skipped = append(d.Skipped, skipped...)
	if named {
		d.Splits, d.Split = splits, split
	}
	return d, nil
}
