package ssl

import (
	"fmt"
	"slices"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/ssl/mask"
	"github.com/dino-mx/dmx/tensor"
)

// draw is what is drawn for a step, in host memory that every step writes anew.
type draw struct {
	masks  mask.Settings
	most   int    // masked patches of this process's step at most; 0 when nothing is masked
	mask   []bool // of the global crops of all processes, view by view
	masked int    // masked patches of all processes
	micro  []microBatch
}

// microBatch is the part of a step that passes through the networks at once.
type microBatch struct {
	place  loss.Place
	at     int        // its first image in this process's step
	groups []nn.Group // without images
	mask   []bool     // of its global crops
	counts []int32    // masked patches of each of its global crops
	masked []int32    // their rows in the student's packed tokens
	rows   []int32    // the rows that heads and losses read: CLS, then masked
	lo, hi int        // its masked patches among those of this process's step
}

// makeDraw allocates the tables.
func (t *Trainer) makeDraw() error {
	s, d := &t.Settings, &t.draw
	d.masks = s.maskSettings()
	cells, globals := d.masks.GridH*d.masks.GridW, s.globalView().Count
	d.most = s.maxMasked()
	if !loss.Off(s.IBOT.Weight) {
		if d.most == 0 {
			return fmt.Errorf("training settings: %w with %d crops of %dx%d patches, probability %v and ratio up to %v; the ratio must be larger",
				ErrNothingMasked, globals*s.total(), d.masks.GridH, d.masks.GridW, d.masks.Probability, d.masks.Ratio[1])
		}
		d.mask = make([]bool, globals*s.total()*cells)
	}
	b := t.images
	d.micro = make([]microBatch, s.microBatches())
	for j := range d.micro {
		m := &d.micro[j]
		m.at = j * b
		m.place = loss.Place{First: s.Ranks.Index*s.Batch + j*b, Images: b, Total: s.total()}
		m.setKeys(s)
		most := min(d.most, globals*b*cells)
		m.rows = make([]int32, 0, len(t.plan.studentCLS)+most)
		if d.most > 0 {
			m.mask, m.counts = make([]bool, globals*b*cells), make([]int32, globals*b)
			m.masked = make([]int32, 0, most)
			m.groups[0].Mask = m.mask
		}
	}
	return nil
}

// drawStep draws the masks of a step. They are drawn for the global crops of all processes, and depend on a crop's place
// among these alone: parts of a step, and processes, see what one pass over the whole batch would.
func (t *Trainer) drawStep() {
	d, s := &t.draw, &t.Settings
	if d.most > 0 {
		d.masks.Fill(d.mask, s.globalView().Count*s.total(), s.Seed, uint32(t.steps))
	}
	d.masked = 0
	for _, masked := range d.mask {
		if masked {
			d.masked++
		}
	}
	next := 0
	for j := range d.micro {
		m := &d.micro[j]
		m.rows = append(m.rows[:0], t.plan.studentCLS...)
		m.lo = next
		if d.most > 0 {
			m.setMask(d, s.globalView().Count)
			m.masked = t.plan.student.MaskedRows(m.masked[:0], 0, m.mask)
			m.rows = append(m.rows, m.masked...)
			next += len(m.masked)
		}
		m.hi = next
	}
}

// setKeys names every crop to the streams of drop path by the place of its image in the batch of all processes, and its
// view. The streams change with the step.
func (m *microBatch) setKeys(s *Settings) {
	views, first := uint32(s.crops()), uint32(0)
	keys := func(v data.ViewSpec, from, images int) (list []uint32) {
		for c := range v.Count {
			for i := range images {
				list = append(list, uint32(from+i)*views+first+uint32(c))
			}
		}
		return list
	}
	for _, v := range s.Views {
		g := nn.Group{Keys: keys(v, m.place.First, m.place.Images)}
		if !m.place.Whole() {
			g.Whole = keys(v, 0, m.place.Total)
		}
		m.groups = append(m.groups, g)
		first += uint32(v.Count)
	}
}

// setMask picks the masks of the micro-batch's crops out of those of all processes, and counts them.
func (m *microBatch) setMask(d *draw, globals int) {
	cells := d.masks.GridH * d.masks.GridW
	p := m.place
	for v := range globals {
		from := (v*p.Total + p.First) * cells
		copy(m.mask[v*p.Images*cells:(v+1)*p.Images*cells], d.mask[from:])
	}
	for crop := range m.counts {
		n := int32(0)
		for _, masked := range m.mask[crop*cells : (crop+1)*cells] {
			if masked {
				n++
			}
		}
		m.counts[crop] = n
	}
}

// local is the number of masked patches of this process's step.
func (d *draw) local() int { return d.micro[len(d.micro)-1].hi }

// load makes the crops of a micro-batch ready on the device: where they were staged, else host memory itself, else a
// copy in the arena.
func (t *Trainer) load(m *microBatch, batch Batch) {
	views := batch.Views
	if p := t.staged(batch); p != nil {
		t.feed.device.OrderAfter(p.ticket)
		views = p.views
	}
	whole := len(t.draw.micro) == 1
	for g, x := range views {
		if !whole || x.Device() != t.backend.Allocator().Device() {
			x = t.cut(m, x, t.Settings.Views[g].Count)
		}
		m.groups[g].Images = x
	}
}

// cut copies the crops of a micro-batch out of those of the step, into the arena.
func (t *Trainer) cut(m *microBatch, x *tensor.Tensor, views int) *tensor.Tensor {
	shape, b := slices.Clone(x.Shape()), m.place.Images
	shape[0] = views * b
	dst := t.tape.A.New(x.DType(), shape...)
	if x.Dim(0) == shape[0] {
		t.copyIn(dst, x)
		return dst
	}
	for v := range views {
		from := v*t.Settings.Batch + m.at
		t.copyIn(dst.Rows(v*b, (v+1)*b), x.Rows(from, from+b))
	}
	return dst
}

// copyIn copies a tensor of the host or of the device.
func (t *Trainer) copyIn(dst, x *tensor.Tensor) {
	if x.Device() == dst.Device() {
		t.backend.Copy(dst, x)
		return
	}
	t.backend.Upload(dst, x)
}
