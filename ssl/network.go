package ssl

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl/loss"
)

// Network is a backbone with its heads.
type Network struct {
	Backbone *nn.ViT
	Head     *nn.Head // CLS tokens; patches too unless PatchHead is set
	// PatchHead is the patches' own head, or nil.
	PatchHead *nn.Head
}

// part is one module of a network under the name it has in checkpoints and clip groups.
type part struct {
	name   string
	params *nn.Params
}

func newNetwork(b nn.Builder, s *Settings) (*Network, error) {
	backbone, err := b.NewViT(s.Backbone)
	if err != nil {
		return nil, err
	}
	n := &Network{Backbone: backbone}
	head := func(c nn.HeadConfig, prefix string) (*nn.Head, error) {
		c.In, c.Depth, c.Prefix = s.Backbone.Dim, s.Backbone.Depth+1, prefix
		return b.NewHead(c)
	}
	if n.Head, err = head(s.DINO.Head, "dino_head."); err != nil {
		return nil, err
	}
	if !loss.Off(s.IBOT.Weight) && s.IBOT.Head != nil {
		if n.PatchHead, err = head(*s.IBOT.Head, "ibot_head."); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// parts lists the modules in a fixed order.
func (n *Network) parts() []part {
	ps := []part{{"backbone", n.Backbone.Params}, {"dino_head", n.Head.Params}}
	if n.PatchHead != nil {
		ps = append(ps, part{"ibot_head", n.PatchHead.Params})
	}
	return ps
}

// init draws all weights.
func (n *Network) init(b kernels.Backend, seed uint64) {
	for _, p := range n.parts() {
		p.params.Init(b, seed, nil)
	}
}

// copyFrom makes n an exact copy of src.
func (n *Network) copyFrom(b kernels.Backend, src *Network) error {
	from := src.parts()
	for i, p := range n.parts() {
		if err := p.params.CopyFrom(b, from[i].params); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// modules pairs the student's parts with the teacher's for the optimiser.
func modules(student, teacher *Network) []optim.Module {
	var ms []optim.Module
	to := teacher.parts()
	for i, p := range student.parts() {
		ms = append(ms, optim.Module{Name: p.name, Params: p.params, Teacher: to[i].params, Depth: student.Backbone.Config.Depth})
	}
	return ms
}
