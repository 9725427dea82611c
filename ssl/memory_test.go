package ssl

import (
	"testing"

	"github.com/dino-mx/dmx/nn"
)

// TestStepMemory: the count explains the measured peak of a step, within what tables and rounding take.
func TestStepMemory(t *testing.T) {
	b := newCPU(t, 2)
	wide := func(change func(*Settings)) Settings {
		s := micro()
		s.Batch, s.Views = 4, MultiCrop(16, 4, 8)
		s.Backbone.Dim, s.Backbone.Depth, s.Backbone.MLPDim, s.Backbone.ImageSize = 32, 3, 128, 16
		s.DINO.Head = nn.HeadConfig{Hidden: 64, Bottleneck: 32, Prototypes: 4096, Layers: 3, WeightNorm: true}
		s.KoLeo.Weight = nil
		s.Watch.Every = 0
		change(&s)
		return s
	}
	for name, s := range map[string]Settings{
		"dino":                wide(func(s *Settings) { s.IBOT.Weight = nil }),
		"shared head":         wide(func(*Settings) {}),
		"separate head":       wide(func(s *Settings) { h := s.DINO.Head; s.IBOT.Head = &h }),
		"without weight norm": wide(func(s *Settings) { s.DINO.Head.WeightNorm = false }),
		"in parts":            wide(func(s *Settings) { s.Batch, s.MicroBatches = 8, 2 }),
		"recomputed":          wide(func(s *Settings) { s.Recompute = true }),
	} {
		t.Run(name, func(t *testing.T) {
			tr := trainer(t, b, s)
			train(t, tr, 1)
			masked := 0
			for j := range tr.draw.micro {
				masked = max(masked, len(tr.draw.micro[j].masked))
			}
			total := 0
			for _, x := range tr.StepMemory(masked) {
				t.Logf("%9d %s", x.Bytes, x.What)
				total += x.Bytes
			}
			got := tr.Memory().Peak
			t.Logf("%9d counted, %d measured", total, got)
			if got < total*99/100 || got > total*102/100 {
				t.Errorf("peak %d bytes, the count explains %d", got, total)
			}
		})
	}
}
