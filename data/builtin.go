package data

import (
	"fmt"

	"github.com/dino-mx/dmx/data/fashionmnist"
)

// openBuiltin opens the embedded sample set.
func openBuiltin(path, name, split string) (Source, error) {
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
