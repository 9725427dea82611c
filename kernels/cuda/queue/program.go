package queue

import (
	"bytes"
	"slices"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

// program is a sequence of commands. It owns the memory behind their arguments and uses it again after reset.
type program struct {
	commands []gpu.Command
	args     []byte
	params   []uint32
	shape    uint64 // a hash of the segment's number and the kinds in order
}

// argAlign is the alignment of each argument buffer: that of a tensor map, the most any kernel asks for.
const argAlign = 64

// reset empties the program, which becomes the given segment of a batch. Segments have graphs of their own even where
// they launch the same kernels, as the layers of a model do: otherwise each launch would change most of the one graph.
func (p *program) reset(segment int) {
	p.commands, p.args, p.params = p.commands[:0], p.args[:0], p.params[:0]
	p.shape = (fnvBasis ^ uint64(segment)) * fnvPrime
}

// The FNV-1a hash.
const (
	fnvBasis = 14695981039346656037
	fnvPrime = 1099511628211
)

func (p *program) add(c gpu.Command) {
	if c.Kind == gpu.LaunchCommand {
		for len(p.args)%argAlign != 0 {
			p.args = append(p.args, 0)
		}
		// When args or params moves to a larger array, earlier commands keep theirs in the old one.
		at := len(p.args)
		p.args = append(p.args, c.Launch.Args...)
		c.Launch.Args = p.args[at:len(p.args):len(p.args)]
		first := len(p.params)
		p.params = append(p.params, c.Launch.Params...)
		c.Launch.Params = p.params[first:len(p.params):len(p.params)]
	}
	p.commands = append(p.commands, c)
	p.shape = (p.shape ^ uint64(c.Kind)) * fnvPrime
}

// sameKinds reports whether q could take p's place in a graph.
func (p *program) sameKinds(q *program) bool {
	if p.shape != q.shape || len(p.commands) != len(q.commands) {
		return false
	}
	for i := range p.commands {
		if p.commands[i].Kind != q.commands[i].Kind {
			return false
		}
	}
	return true
}

// changes appends the indices of the commands in which q differs from p.
func (p *program) changes(dst []int, q *program) []int {
	for i := range p.commands {
		if !same(&p.commands[i], &q.commands[i]) {
			dst = append(dst, i)
		}
	}
	return dst
}

// same reports whether two commands of one kind do the same.
func same(c, d *gpu.Command) bool {
	switch c.Kind {
	case gpu.LaunchCommand:
		a, b := &c.Launch, &d.Launch
		return a.Function == b.Function && a.Grid == b.Grid && a.Block == b.Block && a.Shared == b.Shared &&
			bytes.Equal(a.Args, b.Args) && slices.Equal(a.Params, b.Params)
	case gpu.FeedCommand:
		return c.Dst == d.Dst && len(c.Host) == len(d.Host) && &c.Host[0] == &d.Host[0]
	default:
		return c.Dst == d.Dst && c.Src == d.Src && c.Bytes == d.Bytes
	}
}
