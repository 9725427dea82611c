package source

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/data"
)

// tarFolder is a folder of shards.
type tarFolder struct{}

// Name is the format's name.
func (tarFolder) Name() string { return "tar files" }

// Match accepts a folder with a tar file.
func (tarFolder) Match(p *Path) (bool, error) {
	return p.Folder && slices.ContainsFunc(p.Files, tarName), nil
}

// Open reads the shards whose names start with the split, or all of them if none starts with any.
func (tarFolder) Open(p *Path, split string) (data.Source, error) {
	groups := map[string][]string{}
	var all []string
	named := false
	for _, s := range p.Files {
		if !tarName(s) {
			continue
		}
		key, _, _ := strings.Cut(s, ".")
		key = strings.TrimRight(key, "0123456789_-")
		path := filepath.Join(p.Name, s)
		groups[key] = append(groups[key], path)
		all = append(all, path)
		named = named || knownSplit(key) || key == split && split != ""
	}
	if !named {
		return openTar(p.Name, all, split)
	}
	key, err := chooseSplit(p.Name, split, slices.Sorted(maps.Keys(groups)))
	if err != nil {
		return nil, err
	}
	return openTar(p.Name, groups[key], "")
}
