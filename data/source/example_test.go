package source_test

import (
	"fmt"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/source"
)

// The embedded images are opened as any others are, and one is read.
func Example() {
	images, err := source.Open("embedded:fashion-mnist", source.Options{Split: "test", Channels: 3})
	if err != nil {
		panic(err)
	}
	fmt.Println(images.Reading())
	var s data.Sample
	if err := images.Decode(0, &s); err != nil {
		panic(err)
	}
	label, _ := images.Label(0)
	fmt.Println(s.Image.Channels, s.Image.Height, s.Image.Width, images.Classes()[label])
	// Output:
	// 10 classes, 1000 images of split test, splits: test, train
	// 3 28 28 Ankle boot
}
