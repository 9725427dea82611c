package source

import (
	"fmt"
	"hash"
	"strings"

	"github.com/dino-mx/dmx/data/fashionmnist"
)

// embedded is the data set in the program.
type embedded struct{}

// Name returns what the data are.
func (embedded) Name() string { return "embedded data set" }

// Match accepts paths that begin with embedded:.
func (embedded) Match(p *Path) (bool, error) { return Embedded(p.Name), nil }

// Open reads Fashion-MNIST.
func (embedded) Open(p *Path, o Options) (*Dataset, error) {
	path := p.Name
	if _, name, _ := strings.Cut(path, ":"); name != "fashion-mnist" {
		return nil, fmt.Errorf("%s: no embedded data set %q; there is fashion-mnist", path, name)
	}
	splits := []string{"train", "test"}
	split, err := chooseSplit(path, o.Split, splits)
	if err != nil {
		return nil, err
	}
	images, labels := fashionmnist.TrainImages, fashionmnist.TrainLabels
	if split == "test" {
		images, labels = fashionmnist.TestImages, fashionmnist.TestLabels
	}
	a, err := readIDXImages(path+"/"+split, images, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	l, err := readIDXLabels(labels)
	if err == nil {
		err = a.setLabels(l)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	a.classes = fashionmnist.Classes
	if err := a.want(o.Channels); err != nil {
		return nil, err
	}
	stamp := func(h hash.Hash) error {
		h.Write(images)
		h.Write(labels)
		return nil
	}
	return &Dataset{samples: a, Splits: splits, Split: split, stamp: stamp}, nil
}
