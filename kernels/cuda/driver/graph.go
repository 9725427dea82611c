//go:build linux && cgo && !cpu

package driver

//#include "companion.h"
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

// graph is a chain of nodes built one by one, not captured from a stream: the nodes' handles are then known, and a
// step changes only those whose parameters differ, at a fraction of the cost of capturing it again to compare.
type graph struct {
	d     *Driver
	g     C.dmx_graph
	nodes []C.CUgraphNode
	// used again at every launch
	changed []C.dmx_command
	index   []C.int
	args    []byte
	params  []uint32
}

// NewGraph builds and instantiates a graph.
func (d *Driver) NewGraph(cs []gpu.Command) (gpu.Graph, error) {
	if len(cs) == 0 {
		return nil, errors.New("a graph of no commands")
	}
	g := &graph{d: d, nodes: make([]C.CUgraphNode, len(cs))}
	for i := range cs {
		g.add(&cs[i])
	}
	var failed C.int
	r := C.dmx_graph_new(d.ctx, &g.g, &g.nodes[0], &g.changed[0], chars(g.args), uints(g.params), C.int(len(cs)), &failed)
	if r != 0 {
		return nil, failure(describe("build a graph", cs, failed), r)
	}
	return g, nil
}

// add appends the C form of a command.
func (g *graph) add(c *gpu.Command) {
	out := C.dmx_command{kind: C.uint(c.Kind)}
	switch c.Kind {
	case gpu.LaunchCommand:
		l := &c.Launch
		out.function = l.Function.(C.CUfunction)
		out.shape = shape(l)
		for len(g.args)%argAlign != 0 {
			g.args = append(g.args, 0)
		}
		out.args, out.params, out.param_count = C.size_t(len(g.args)), C.size_t(len(g.params)), C.int(len(l.Params))
		g.args, g.params = append(g.args, l.Args...), append(g.params, l.Params...)
	case gpu.FeedCommand:
		out.dst, out.bytes = C.CUdeviceptr(c.Dst), C.size_t(len(c.Host))
		out.src = C.CUdeviceptr(uintptr(unsafe.Pointer(unsafe.SliceData(c.Host)))) // page-locked, outside the Go heap
	case gpu.CopyCommand:
		out.dst, out.src, out.bytes = C.CUdeviceptr(c.Dst), C.CUdeviceptr(c.Src), C.size_t(c.Bytes)
	}
	g.changed = append(g.changed, out)
}

// argAlign keeps argument buffers aligned to what a tensor map asks for.
const argAlign = 64

func shape(l *gpu.Launch) [7]C.uint {
	return [7]C.uint{C.uint(l.Grid[0]), C.uint(l.Grid[1]), C.uint(l.Grid[2]), C.uint(l.Block[0]), C.uint(l.Block[1]), C.uint(l.Block[2]), C.uint(l.Shared)}
}

// Launch changes nodes and launches the graph, in one call of C.
func (g *graph) Launch(cs []gpu.Command, changed []int) error {
	g.changed, g.index, g.args, g.params = g.changed[:0], g.index[:0], g.args[:0], g.params[:0]
	for _, i := range changed {
		g.add(&cs[i])
		g.index = append(g.index, C.int(i))
	}
	var failed C.int
	r := C.dmx_graph_launch(g.d.ctx, g.d.streams[gpu.Compute], g.g, &g.nodes[0], unsafe.SliceData(g.changed), unsafe.SliceData(g.index), chars(g.args), uints(g.params), C.int(len(changed)), &failed)
	err := failure(describe("launch a graph", cs, failed), r)
	if err != nil && failed >= 0 && !errors.Is(err, gpu.ErrFault) {
		return fmt.Errorf("%w: %w", gpu.ErrGraph, err)
	}
	return err
}

// describe names the command that a call failed at.
func describe(what string, cs []gpu.Command, failed C.int) string {
	if failed < 0 {
		return what
	}
	if c := &cs[failed]; c.Kind == gpu.LaunchCommand {
		return fmt.Sprintf("%s: command %d, kernel %s, grid %v, block %v", what, int(failed), c.Launch.Name, c.Launch.Grid, c.Launch.Block)
	}
	return fmt.Sprintf("%s: command %d, a copy", what, int(failed))
}

// Close destroys the graph; one that still runs is destroyed by the driver when it is done.
func (g *graph) Close() error { return failure("destroy a graph", C.dmx_graph_close(g.d.ctx, g.g)) }
