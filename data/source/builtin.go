package source

import (
	"fmt"
	"strings"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/fashionmnist"
)

// builtin is the embedded sample set.
type builtin struct{}

// embedded begins the path of a data set that is in the program.
const embedded = "embedded:"

// Embedded tells whether a path is that of a data set in the program, which no folder holds.
func Embedded(path string) bool { return strings.HasPrefix(path, embedded) }

// Name says that the data are in the program.
func (builtin) Name() string { return "embedded data set" }

// Match accepts paths that begin with embedded:.
func (builtin) Match(p *Path) (bool, error) { return Embedded(p.Name), nil }

// Open reads Fashion-MNIST.
func (builtin) Open(p *Path, split string) (data.Source, error) {
	path := p.Name
	_, name, _ := strings.Cut(path, ":")
	if name != "fashion-mnist" {
		return nil, fmt.Errorf("%s: no embedded data set %q; there is fashion-mnist", path, name)
	}
	split, err := chooseSplit(path, split, []string{"train", "test"})
	if err != nil {
		return nil, err
	}
	images, labels := fashionmnist.TrainImages, fashionmnist.TrainLabels
	if split == "test" {
		images, labels = fashionmnist.TestImages, fashionmnist.TestLabels
	}
	a, err := readIDXImages(path+"/"+split, images)
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
	return a, nil
}
