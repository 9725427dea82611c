package nn

import (
	"math"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// ropeTable holds the rotations of the patches of every grid of a layout: cos and sin [R, dh/2].
type ropeTable struct {
	cos, sin *tensor.Tensor
}

// ropePurpose separates the random streams of coordinates from other streams of the seed.
const ropePurpose = 0x01_00_00_03

// rope returns the table without augmentation. It is made once for each layout.
func (v *ViT) rope(l *Layout) ropeTable {
	if r, ok := v.ropes[l]; ok {
		return r
	}
	half := v.Config.Dim / v.Config.Heads / 2
	up := func(host []float64) *tensor.Tensor {
		x, err := kernels.FromHost(v.backend, v.floats(host, l.ropeRows, half))
		if err != nil {
			panic(err)
		}
		return x
	}
	v.fillRope(l, nil)
	r := ropeTable{up(v.scratch.cos), up(v.scratch.sin)}
	if v.ropes == nil || len(v.ropes) >= layoutCache {
		v.ropes = map[*Layout]ropeTable{}
	}
	v.ropes[l] = r
	return r
}

// randomRope returns a table with random coordinates: those of a training pass, for block < 0, or of one block.
func (v *ViT) randomRope(t *autograd.Tape, l *Layout, d Draw, block int) ropeTable {
	v.fillRope(l, func(group int) *tensor.Rand {
		return tensor.NewRand(d.Seed, d.Step, uint32(block+1)<<16|uint32(group), ropePurpose)
	})
	half := v.Config.Dim / v.Config.Heads / 2
	cos := kernels.FromHostIn(t.A, v.backend, v.floats(v.scratch.cos, l.ropeRows, half))
	sin := kernels.FromHostIn(t.A, v.backend, v.floats(v.scratch.sin, l.ropeRows, half))
	return ropeTable{cos, sin}
}

func (v *ViT) statType() tensor.DType {
	if v.dtype == tensor.F64 {
		return tensor.F64
	}
	return tensor.F32
}

// floats returns values as a host matrix of the type of row statistics. It is valid until the next call.
func (v *ViT) floats(host []float64, rows, cols int) *tensor.Tensor {
	if v.statType() == tensor.F64 {
		return tensor.FromF64(host, rows, cols)
	}
	s := &v.scratch
	s.scales = s.scales[:0]
	for _, x := range host {
		s.scales = append(s.scales, float32(x))
	}
	return tensor.FromF32(s.scales, rows, cols)
}

// augments reports whether training moves the coordinates.
func (c RoPEConfig) augments() bool {
	return c.Theta > 0 && (c.Shift > 0 || c.Jitter > 1 || c.Rescale > 1)
}

// fillRope computes cos and sin of the angles 2π·coordinate/period into the scratch. Coordinates are in (-1, 1) on
// each axis. The first half of a token's angles is for its row, the second for its column. random returns the random
// stream of a group; it is nil for no augmentation.
func (v *ViT) fillRope(l *Layout, random func(group int) *tensor.Rand) {
	s := &v.scratch
	s.cos, s.sin = s.cos[:0], s.sin[:0]
	periods := v.Config.RoPE.periods(v.Config.Dim / v.Config.Heads)
	for gi := range l.Groups {
		q := &l.Groups[gi]
		a := coordinates{1, 1, 0, 0}
		if random != nil {
			a = v.Config.RoPE.draw(random(gi))
		}
		for y := 0; y < q.GridH; y++ {
			for x := 0; x < q.GridW; x++ {
				cy := a.mulY * (2*(float64(y)+0.5)/float64(q.GridH) - 1 + a.addY)
				cx := a.mulX * (2*(float64(x)+0.5)/float64(q.GridW) - 1 + a.addX)
				for _, c := range [2]float64{cy, cx} {
					for _, p := range periods {
						sin, cos := math.Sincos(2 * math.Pi * c / p)
						s.cos, s.sin = append(s.cos, cos), append(s.sin, sin)
					}
				}
			}
		}
	}
}

// coordinates is a random change of the coordinate system.
type coordinates struct{ mulY, mulX, addY, addX float64 }

// draw takes shift (two draws), jitter (two) and rescale (one), in this order.
func (c RoPEConfig) draw(r *tensor.Rand) coordinates {
	a := coordinates{1, 1, 0, 0}
	if c.Shift > 0 {
		a.addY, a.addX = r.Uniform(-c.Shift, c.Shift), r.Uniform(-c.Shift, c.Shift)
	}
	if c.Jitter > 1 {
		log := math.Log(c.Jitter)
		a.mulY, a.mulX = math.Exp(r.Uniform(-log, log)), math.Exp(r.Uniform(-log, log))
	}
	if c.Rescale > 1 {
		log := math.Log(c.Rescale)
		f := math.Exp(r.Uniform(-log, log))
		a.mulY *= f
		a.mulX *= f
	}
	return a
}

// periods are Theta^(4k/dh) for k < dh/4, unless given.
func (c RoPEConfig) periods(dh int) []float64 {
	if len(c.Periods) > 0 {
		return c.Periods
	}
	p := make([]float64, dh/4)
	for k := range p {
		p[k] = math.Pow(c.Theta, 4*float64(k)/float64(dh))
	}
	return p
}
