package ptx

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

// graph is a gpu.Graph: its own copy of the commands, run one after the other.
type graph struct {
	d        *Driver
	commands []gpu.Command
}

// NewGraph keeps a copy of the commands.
func (d *Driver) NewGraph(cs []gpu.Command) (gpu.Graph, error) {
	g := &graph{d: d, commands: make([]gpu.Command, len(cs))}
	for i := range cs {
		g.set(i, &cs[i])
	}
	return g, nil
}

func (g *graph) set(i int, c *gpu.Command) {
	args := append(g.commands[i].Launch.Args[:0], c.Launch.Args...)
	params := append(g.commands[i].Launch.Params[:0], c.Launch.Params...)
	g.commands[i] = *c
	g.commands[i].Launch.Args, g.commands[i].Launch.Params = args, params
}

// Launch takes the changed commands over and runs all. What a device would run with other commands than those asked
// for, because changed leaves one out, is an error here.
func (g *graph) Launch(cs []gpu.Command, changed []int) error {
	if len(cs) != len(g.commands) {
		return fmt.Errorf("ptx: %d commands for a graph of %d", len(cs), len(g.commands))
	}
	for _, i := range changed {
		if cs[i].Kind != g.commands[i].Kind {
			return fmt.Errorf("ptx: command %d of a graph has kind %d, not %d", i, g.commands[i].Kind, cs[i].Kind)
		}
		g.set(i, &cs[i])
	}
	for i := range g.commands {
		c := &g.commands[i]
		var err error
		switch c.Kind {
		case gpu.LaunchCommand:
			if l := &cs[i].Launch; l.Grid != c.Launch.Grid || !bytes.Equal(l.Args, c.Launch.Args) || !slices.Equal(l.Params, c.Launch.Params) {
				return fmt.Errorf("ptx: kernel %s, command %d, is not what the graph was last given", l.Name, i)
			}
			err = g.d.Launch(&c.Launch)
		case gpu.FeedCommand:
			err = g.d.CopyIn(c.Dst, c.Host)
		case gpu.CopyCommand:
			err = g.d.Copy(c.Dst, c.Src, c.Bytes)
		}
		if err != nil {
			return &gpu.CommandError{Index: i, Err: err}
		}
	}
	return nil
}

// Close forgets nothing that the garbage collector would not.
func (g *graph) Close() error { return nil }
