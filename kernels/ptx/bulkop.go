package ptx

import (
	"fmt"
	"strings"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// bulkOp compiles cp.async.bulk, with and without .tensor, its commit and its wait.
func (c *compiler) bulkOp() error {
	switch c.oneOf("commit_group", "wait_group", "prefetch") {
	case "commit_group":
		c.st.run = func(w *warp, m uint32) {
			each(m, func(l int) {
				g := &w.bulk[l]
				g.groups = append(g.groups, g.open)
				g.open = nil
			})
		}
		return c.nargs(0)
	case "wait_group":
		read := c.has("read")
		n, err := c.groupCount()
		if err != nil {
			return err
		}
		c.st.run = func(w *warp, m uint32) {
			each(m, func(l int) { w.waitBulk(l, n, read) })
		}
		return nil
	case "prefetch":
		return c.nop()
	}
	rank := 0
	if c.has("tensor") {
		dim := c.oneOf("1d", "2d", "3d", "4d", "5d")
		if dim == "" {
			return fmt.Errorf("want .1d to .5d")
		}
		rank = int(dim[0] - '0')
		c.has("tile")
	}
	hint := c.has("L2::cache_hint")
	if c.has("multicast::cluster") {
		return fmt.Errorf("multicast to a cluster is not supported")
	}
	// The state spaces are the target's and the source's, in this order.
	var spaces []string
	for _, m := range c.in.Mods {
		switch m {
		case "global", "shared::cta", "shared::cluster":
			c.has(m)
			spaces = append(spaces, m)
		}
	}
	switch strings.Join(spaces, " ") + " " + c.oneOf("mbarrier::complete_tx::bytes", "bulk_group") {
	case "shared::cluster global mbarrier::complete_tx::bytes", "shared::cta global mbarrier::complete_tx::bytes":
		return c.bulkLoad(rank, hint)
	case "global shared::cta bulk_group":
		c.tracked = true
		return c.bulkStore(rank, hint)
	}
	return fmt.Errorf("only global to shared memory with .mbarrier::complete_tx::bytes and shared::cta to global memory with .bulk_group are supported")
}

// tensorOperand resolves [map, {coordinates}].
func (c *compiler) tensorOperand(o syntax.Operand, rank int) (at func(*warp, *lanes), coords []source, err error) {
	if o.Kind != syntax.AddrOperand || len(o.Elems) != 1 {
		return nil, nil, fmt.Errorf("want [tensor map, {coordinates}]")
	}
	coordinates := vector(o.Elems[0])
	if len(coordinates) != rank {
		return nil, nil, fmt.Errorf("%d coordinates for %d dimensions", len(coordinates), rank)
	}
	if coords, err = c.srcs(coordinates); err != nil {
		return nil, nil, err
	}
	at, err = c.address(o)
	return at, coords, err
}

func (c *compiler) bulkLoad(rank int, hint bool) error {
	args := c.in.Args
	want := 4 // target, source, size, mbarrier
	if rank > 0 {
		want = 3
	}
	if hint {
		want++
	}
	if len(args) != want {
		return fmt.Errorf("%d operands, want %d", len(args), want)
	}
	to, err := c.address(args[0])
	if err != nil {
		return err
	}
	var from func(*warp, *lanes)
	var coords []source
	var size source
	if rank > 0 {
		from, coords, err = c.tensorOperand(args[1], rank)
	} else if from, err = c.address(args[1]); err == nil {
		size, err = c.src(args[2])
	}
	if err != nil {
		return err
	}
	bar, err := c.address(args[len(args)-1-b2i(hint)])
	if err != nil {
		return err
	}
	if hint {
		if _, err := c.src(args[len(args)-1]); err != nil {
			return err
		}
	}
	c.st.run = func(w *warp, m uint32) {
		var d, s, b lanes
		to(w, &d)
		from(w, &s)
		bar(w, &b)
		each(m, func(l int) {
			object := w.mbarrier("shared", b[l], l)
			w.startLoad(l, w.bulkPieces(l, rank, coords, size, d[l], s[l]), object)
		})
	}
	return nil
}

func (c *compiler) bulkStore(rank int, hint bool) error {
	args := c.in.Args
	want := 3 // target, source, size
	if rank > 0 {
		want = 2
	}
	if hint {
		want++
	}
	if len(args) != want {
		return fmt.Errorf("%d operands, want %d", len(args), want)
	}
	var to func(*warp, *lanes)
	var coords []source
	var size source
	var err error
	if rank > 0 {
		to, coords, err = c.tensorOperand(args[0], rank)
	} else if to, err = c.address(args[0]); err == nil {
		size, err = c.src(args[2])
	}
	if err != nil {
		return err
	}
	from, err := c.address(args[1])
	if err != nil {
		return err
	}
	if hint {
		if _, err := c.src(args[len(args)-1]); err != nil {
			return err
		}
	}
	c.st.run = func(w *warp, m uint32) {
		var g, s lanes
		to(w, &g)
		from(w, &s)
		each(m, func(l int) { w.startStore(l, w.bulkPieces(l, rank, coords, size, s[l], g[l])) })
	}
	return nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
