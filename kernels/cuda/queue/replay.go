package queue

import (
	"errors"
	"slices"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

const (
	minGraph = 16      // commands below which a graph saves nothing
	maxNodes = 1 << 14 // commands in the graphs that are kept: a run has a handful of kinds of step, of 1,000 to 2,000
	maxSeen  = 256
)

// replays are the graphs of a queue. A training step submits the same thousand commands every time: the first time
// they are submitted one by one, the second time they become a graph, and from then on the step is that graph with
// those commands changed that differ: pointers where the arena was laid out anew, grids where another number of
// patches is masked, rates. Only the order of kernels and copies is the graph's own; where it differs too (another
// number of chunks, a step that is watched) the step gets a graph of its own.
type replays struct {
	graphs  []*replay // the most recently used last
	seen    []uint64  // shapes of programs submitted one by one, the most recent last
	nodes   int       // commands in all graphs
	refused []uint64  // shapes whose graph the device would not make or change
	listed  []int
}

type replay struct {
	graph   gpu.Graph
	program *program // as the graph was last launched
	nodes   int
}

// replay submits the segment as a graph. It reports false when the commands must be submitted one by one.
func (q *Queue) replay() bool {
	rs := &q.replays
	if len(q.batch.commands) < minGraph {
		return false
	}
	for i, r := range rs.graphs {
		if !r.program.sameKinds(q.batch) {
			continue
		}
		copy(rs.graphs[i:], rs.graphs[i+1:])
		rs.graphs[len(rs.graphs)-1] = r
		rs.listed = r.program.changes(rs.listed[:0], q.batch)
		return q.launchGraph(r, rs.listed)
	}
	if slices.Contains(rs.refused, q.batch.shape) || !rs.known(q.batch.shape) {
		return false
	}
	g, err := q.driver.NewGraph(q.batch.commands)
	if err != nil {
		if errors.Is(err, gpu.ErrFault) {
			q.Fail(err)
			return true
		}
		// A graph is a convenience: without room for one the commands run one by one.
		rs.refused = append(rs.refused, q.batch.shape)
		return false
	}
	r := &replay{graph: g, program: &program{}, nodes: len(q.batch.commands)}
	rs.graphs = append(rs.graphs, r)
	rs.nodes += r.nodes
	for rs.nodes > maxNodes && len(rs.graphs) > 1 {
		q.Fail(rs.drop(0))
	}
	return q.launchGraph(r, nil)
}

// launchGraph launches the most recently used graph with the commands of the segment, and keeps them as its program.
func (q *Queue) launchGraph(r *replay, changed []int) bool {
	for i := range q.batch.commands {
		if c := &q.batch.commands[i]; c.Kind == gpu.LaunchCommand {
			q.recent.add(c.Launch.Name)
		}
	}
	err := r.graph.Launch(q.batch.commands, changed)
	if errors.Is(err, gpu.ErrGraph) {
		rs := &q.replays
		rs.refused = append(rs.refused, q.batch.shape)
		q.Fail(rs.drop(len(rs.graphs) - 1))
		return false
	}
	if at := new(gpu.CommandError); errors.As(err, &at) && q.batch.commands[at.Index].Kind == gpu.LaunchCommand {
		err = q.launchError(&q.batch.commands[at.Index].Launch, at.Err)
	}
	q.Fail(err)
	r.program, q.batch = q.batch, r.program
	return true
}

// known reports whether a program of this shape was submitted before, and remembers the shape.
func (rs *replays) known(shape uint64) bool {
	if slices.Contains(rs.seen, shape) {
		return true
	}
	if len(rs.seen) == maxSeen {
		copy(rs.seen, rs.seen[1:])
		rs.seen = rs.seen[:maxSeen-1]
	}
	rs.seen = append(rs.seen, shape)
	return false
}

// drop closes one of the graphs.
func (rs *replays) drop(i int) error {
	r := rs.graphs[i]
	rs.graphs = slices.Delete(rs.graphs, i, i+1)
	rs.nodes -= r.nodes
	return r.graph.Close()
}

func (rs *replays) close() error {
	var errs []error
	for _, r := range rs.graphs {
		errs = append(errs, r.graph.Close())
	}
	rs.graphs = nil
	return errors.Join(errs...)
}
