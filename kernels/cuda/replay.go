package cuda

import (
	"errors"
	"slices"
)

const (
	minGraph  = 16 // commands below which a graph saves nothing
	maxGraphs = 8  // kept at a time: a run has a handful of kinds of step
	maxSeen   = 32
)

// replays are the graphs of a backend. A training step asks for the same thousand commands every time: the first
// time they are run one by one, the second time they become a graph, and from then on the step is that graph with
// those commands changed that differ: pointers where the arena was laid out anew, grids where another number of
// patches is masked, rates. Only the order of kernels and copies is the graph's own; where it differs too (another
// number of chunks, a step that is watched) the step gets a graph of its own.
type replays struct {
	graphs  []*replay // the most recently used last
	seen    []uint64  // shapes of programs run one by one, the most recent last
	refused []uint64  // shapes whose graph the device would not make or change
	listed  []int
}

type replay struct {
	graph   Graph
	program *program // as the graph was last launched
}

// Together performs f, whose operations reach the device in one piece, or in several where f reads results.
func (b *Backend) Together(f func()) {
	if b.holding || b.blocking {
		f()
		return
	}
	b.holding = true
	// Also when f panics: tables that were made on the way are kept by their owners, and must be what they seem.
	defer func() {
		b.flush()
		b.holding = false
	}()
	f()
}

// ask runs a command, now or with those that are held back.
func (b *Backend) ask(c Command) {
	if b.fault != nil {
		return
	}
	if b.holding {
		b.held.add(c)
		return
	}
	b.one = c
	b.issue(&b.one)
}

// issue runs one command.
func (b *Backend) issue(c *Command) {
	var err error
	switch c.Kind {
	case LaunchCommand:
		b.recent.add(c.Launch.Name)
		if err = b.driver.Launch(&c.Launch); err == nil && b.blocking {
			err = b.driver.Sync()
		}
		if err != nil {
			err = b.launchError(&c.Launch, err)
		}
	case FeedCommand:
		err = b.driver.Feed(Compute, c.Dst, c.Host)
	case CopyCommand:
		err = b.driver.Copy(c.Dst, c.Src, c.Bytes)
	}
	b.fail(err)
}

// flush hands the commands held back to the device.
func (b *Backend) flush() {
	if len(b.held.commands) == 0 {
		return
	}
	staged := b.held.staged
	if b.fault == nil && !b.replay() {
		for i := range b.held.commands {
			if b.fault != nil {
				break
			}
			b.issue(&b.held.commands[i])
		}
	}
	b.held.reset()
	if staged {
		b.fail(b.staging.turn())
	}
}

// replay runs the commands held back as a graph. It reports false when they are to be run one by one.
func (b *Backend) replay() bool {
	rs := &b.replays
	if len(b.held.commands) < minGraph {
		return false
	}
	for i, r := range rs.graphs {
		if !r.program.sameKinds(b.held) {
			continue
		}
		copy(rs.graphs[i:], rs.graphs[i+1:])
		rs.graphs[len(rs.graphs)-1] = r
		rs.listed = r.program.changes(rs.listed[:0], b.held)
		return b.launchGraph(r, rs.listed)
	}
	if slices.Contains(rs.refused, b.held.shape) || !rs.known(b.held.shape) {
		return false
	}
	g, err := b.driver.NewGraph(b.held.commands)
	if err != nil {
		if errors.Is(err, ErrFault) {
			b.fail(err)
			return true
		}
		// A graph is a convenience: without room for one the commands run one by one.
		rs.refused = append(rs.refused, b.held.shape)
		return false
	}
	if len(rs.graphs) == maxGraphs {
		b.fail(rs.graphs[0].graph.Close())
		copy(rs.graphs, rs.graphs[1:])
		rs.graphs = rs.graphs[:maxGraphs-1]
	}
	r := &replay{graph: g, program: &program{}}
	rs.graphs = append(rs.graphs, r)
	return b.launchGraph(r, nil)
}

// launchGraph launches a graph of the list's end with the commands held back, which change places with its own.
func (b *Backend) launchGraph(r *replay, changed []int) bool {
	for i := range b.held.commands {
		if c := &b.held.commands[i]; c.Kind == LaunchCommand {
			b.recent.add(c.Launch.Name)
		}
	}
	err := r.graph.Launch(b.held.commands, changed)
	if errors.Is(err, ErrGraph) {
		rs := &b.replays
		rs.graphs = rs.graphs[:len(rs.graphs)-1]
		rs.refused = append(rs.refused, b.held.shape)
		b.fail(r.graph.Close())
		return false
	}
	if at := new(CommandError); errors.As(err, &at) && b.held.commands[at.Index].Kind == LaunchCommand {
		err = b.launchError(&b.held.commands[at.Index].Launch, at.Err)
	}
	b.fail(err)
	r.program, b.held = b.held, r.program
	return true
}

// known reports whether a program of this shape was run before, and remembers it.
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

func (rs *replays) close() error {
	var errs []error
	for _, r := range rs.graphs {
		errs = append(errs, r.graph.Close())
	}
	rs.graphs = nil
	return errors.Join(errs...)
}
