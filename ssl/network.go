package ssl

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/ssl/loss"
)

// Network is a backbone with its heads.
type Network struct {
	Backbone *nn.ViT
	Head     *nn.Head // CLS tokens; patches too unless PatchHead is set
	// PatchHead is the patches' own head, or nil.
	PatchHead *nn.Head
	// Adapters are those of the backbone, in the order of its modules.
	Adapters []*nn.Adapter
}

// NetworkShape describes a network.
type NetworkShape struct {
	Backbone nn.ViTConfig
	// Head and PatchHead are projection heads, whose fields In, Depth and Prefix are filled in. PatchHead nil shares Head.
	Head      nn.HeadConfig
	PatchHead *nn.HeadConfig
}

// patchHead is the head of the masked patches.
func (s *NetworkShape) patchHead() nn.HeadConfig {
	if s.PatchHead != nil {
		return *s.PatchHead
	}
	return s.Head
}

// student is the shape of the student.
func (s *Settings) student() NetworkShape {
	n := NetworkShape{Backbone: s.Backbone, Head: s.DINO.Head}
	if !loss.Off(s.IBOT.Weight) {
		n.PatchHead = s.IBOT.Head
	}
	return n
}

// teacher is the shape of the teacher.
func (s *Settings) teacher() NetworkShape {
	if s.Teacher != nil {
		return *s.Teacher
	}
	return s.student()
}

// part is one module of a network under the name it has in checkpoints and clip groups.
type part struct {
	name   string
	params *nn.Params
}

// newNetwork allocates a network, with adapters where lora is set. Its parameters are undefined.
func newNetwork(b nn.Builder, s NetworkShape, lora *nn.LoRAConfig) (*Network, error) {
	backbone, err := b.NewViT(s.Backbone)
	if err != nil {
		return nil, err
	}
	n := &Network{Backbone: backbone}
	if lora != nil {
		if n.Adapters, err = b.AddLoRA(backbone, *lora); err != nil {
			return nil, err
		}
	}
	head := func(c nn.HeadConfig, prefix string) (*nn.Head, error) {
		c.In, c.Depth, c.Prefix = s.Backbone.Dim, s.Backbone.Depth+1, prefix
		return b.NewHead(c)
	}
	if n.Head, err = head(s.Head, "dino_head."); err != nil {
		return nil, err
	}
	if s.PatchHead != nil {
		if n.PatchHead, err = head(*s.PatchHead, "ibot_head."); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// parts lists the modules in a fixed order.
func (n *Network) parts() []part {
	ps := []part{{"backbone", n.Backbone.Params}}
	if n.Head != nil {
		ps = append(ps, part{"dino_head", n.Head.Params})
	}
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

// sync rounds the weights to the working type after they were written from outside.
func (n *Network) sync(b kernels.Backend) {
	for _, p := range n.parts() {
		p.params.Sync(b)
	}
}

// copyFrom makes n an exact copy of the parts that src has too.
func (n *Network) copyFrom(b kernels.Backend, src *Network) error {
	from := src.parts()
	for i, p := range n.parts() {
		if err := p.params.CopyFrom(b, from[i].params); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}
