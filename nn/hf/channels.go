package hf

import (
	"fmt"

	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// SetChannels makes the checkpoint a model of n input channels. The patch embedding of an image whose channels are
// all the same grey stays what the original gives for that grey in all its channels, each normalised by its own
// model's processor: with weights W, means m and deviations s of the old channels c and mean M, deviation S of the
// new ones, W'_i = Σ_c W_c·S/s_c / n and b' = b + Σ_c Σ_pixels W_c·(M - m_c)/s_c.
func (c *Checkpoint) SetChannels(n int) error {
	old := c.Config.Channels
	if n == old {
		return nil
	}
	if n < 1 {
		return fmt.Errorf("%s: %d channels; expected at least 1", c.Path, n)
	}
	if c.Processor == nil {
		c.Processor = DefaultProcessor(c.Config.ViTConfig)
	}
	if len(c.Processor.Mean) != old {
		return fmt.Errorf("%s: the image processor has %d channels, the weights have %d", c.Path, len(c.Processor.Mean), old)
	}
	module := "embeddings.patch_embeddings.projection"
	if c.Config.Family == nn.FamilyDINOv3 {
		module = "embeddings.patch_embeddings"
	}
	w, b := c.view.entries[module+".weight"], c.view.entries[module+".bias"]
	d, p := c.Config.Dim, c.Config.PatchSize
	if w == nil || b == nil || !w.info.Shape.Equal(tensor.Shape{d, old, p, p}) || !b.info.Shape.Equal(tensor.Shape{d}) {
		return fmt.Errorf("%s: the patch embedding cannot be adapted to %d channels: it is missing or of another shape", c.Path, n)
	}
	// The new entries read the old ones through a view of their own, as they take their names.
	before := &view{src: c.view.src, entries: map[string]*viewEntry{w.info.Name: w, b.info.Name: b}}
	before.infos = append(before.infos, w.info, b.info)
	mean, std := c.Processor.Mean, c.Processor.Std
	c.Processor.SetChannels(n)
	newMean, newStd := c.Processor.Mean[0], c.Processor.Std[0]
	c.view.addComputed(w.info.Name, tensor.Shape{d, n, p, p}, func() ([]float32, error) {
		x, err := floats(before, w.info)
		if err != nil {
			return nil, err
		}
		out := make([]float32, 0, d*n*p*p)
		for o := range d {
			row := make([]float32, p*p)
			for k := range row {
				sum := 0.0
				for ch := range old {
					sum += float64(x[(o*old+ch)*p*p+k]) * newStd / std[ch]
				}
				row[k] = float32(sum / float64(n))
			}
			for range n {
				out = append(out, row...)
			}
		}
		return out, nil
	})
	c.view.addComputed(b.info.Name, tensor.Shape{d}, func() ([]float32, error) {
		x, err := floats(before, w.info)
		if err != nil {
			return nil, err
		}
		bias, err := floats(before, b.info)
		if err != nil {
			return nil, err
		}
		for o := range d {
			sum := float64(bias[o])
			for ch := range old {
				for _, v := range x[(o*old+ch)*p*p : (o*old+ch+1)*p*p] {
					sum += float64(v) * (newMean - mean[ch]) / std[ch]
				}
			}
			bias[o] = float32(sum)
		}
		return bias, nil
	})
	c.Config.Channels = n
	return nil
}
