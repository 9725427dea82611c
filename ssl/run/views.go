package run

import (
	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/ssl/config"
)

// viewSpecs returns the kinds of views of a configuration: the global crops, and the local ones if there are any.
func viewSpecs(c *config.Crops) []data.ViewSpec {
	specs := []data.ViewSpec{
		{Name: "global", Role: data.Global, Count: c.GlobalCropsNumber, Height: c.GlobalCropsSize, Width: c.GlobalCropsSize},
	}
	if c.LocalCropsNumber > 0 {
		specs = append(specs, data.ViewSpec{
			Name: "local", Role: data.Local, Count: c.LocalCropsNumber, Height: c.LocalCropsSize, Width: c.LocalCropsSize,
		})
	}
	return specs
}
