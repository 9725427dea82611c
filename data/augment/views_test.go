package augment

import (
	"strings"
	"testing"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/tensor"
)

func twoKinds() Config {
	return Config{
		Channels: 1, Mean: []float64{0}, Std: []float64{1}, BlurSigma: [2]float64{1, 1},
		Views: []View{
			{ViewSpec: data.ViewSpec{Name: "global", Role: data.Global, Count: 3, Height: 8, Width: 6}, Scale: [2]float64{.4, 1},
				Blur: []float64{1, 0}, Solarise: []float64{0, 1, 0}},
			{ViewSpec: data.ViewSpec{Name: "local", Role: data.Local, Count: 2, Height: 4, Width: 4}, Scale: [2]float64{.1, .3},
				Blur: []float64{1}},
		},
	}
}

// The values of a probability go to the views of a kind in order, and the last one to those behind it.
func TestProbabilitiesOfAKind(t *testing.T) {
	c := twoKinds()
	var got []string
	for k := range c.Views {
		for i := range c.Views[k].Count {
			d := c.draw(tensor.NewRand(1, 0, 0, 0), &c.Views[k], i, 20, 20)
			word := c.Views[k].Name
			if d.sigma > 0 {
				word += " blurred"
			}
			if d.solarise {
				word += " solarised"
			}
			got = append(got, word)
		}
	}
	want := "global blurred, global solarised, global, local blurred, local blurred"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("%s, want %s", s, want)
	}
}

func TestMultiCropRefusesViews(t *testing.T) {
	for message, change := range map[string]func(c *Config){
		"no views":                       func(c *Config) { c.Views = nil },
		"0 local views":                  func(c *Config) { c.Views[1].Count = 0 },
		"local views of 4 x 0 pixels":    func(c *Config) { c.Views[1].Width = 0 },
		"scale [0.5 0.4]":                func(c *Config) { c.Views[0].Scale = [2]float64{.5, .4} },
		"blur [1 2]":                     func(c *Config) { c.Views[0].Blur = []float64{1, 2} },
		"role guided; only global":       func(c *Config) { c.Views[1].Role = data.Guided },
		"range [0 0] of the blur's":      func(c *Config) { c.BlurSigma = [2]float64{} },
		"mean has 2 values, expected 1 ": func(c *Config) { c.Mean = []float64{0, 0} },
	} {
		c := twoKinds()
		change(&c)
		if _, err := NewMultiCrop(c); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("error %v, want one with %q", err, message)
		}
	}
}
