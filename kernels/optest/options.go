package optest

import (
	"slices"
	"strings"

	"github.com/dino-mx/dmx/tensor"
)

// Option narrows what is run.
type Option func(*options)

type options struct {
	ops     []string
	types   []tensor.DType
	named   string
	maxWork int64
	each    int
	largest int64
	aligned bool
	sizes   []size // tile unless set
}

// Only runs the named operations, spelled as the methods of kernels.Backend.
func Only(ops ...string) Option { return func(o *options) { o.ops = ops } }

// Named runs the rows whose names begin with prefix.
func Named(prefix string) Option { return func(o *options) { o.named = prefix } }

// Types runs the table with working types other than f32 and bf16.
func Types(types ...tensor.DType) Option { return func(o *options) { o.types = types } }

// MaxWork leaves out rows of more than n FLOPs or elements, whichever is more.
func MaxWork(n int64) Option { return func(o *options) { o.maxWork = n } }

// Small leaves out what an instruction-level emulator would take long over. Every operation keeps rows on both
// sides of a warp and of a 32-wide tile.
func Small(o *options) { MaxWork(40_000)(o) }

// Each leaves at most n rows of every operation, evenly spread over the table: a sample for tools that slow a device down.
func Each(n int) Option { return func(o *options) { o.each = n } }

// Largest leaves one row of every operation: the largest of at most n FLOPs or elements, those of Benchmark included.
// It is for counting traffic, where the ends of small rows would outweigh the rest.
func Largest(n int64) Option { return func(o *options) { o.largest = n } }

// Aligned gives every tensor the alignment of an allocation, which the fastest kernels ask for.
func Aligned(o *options) { o.aligned = true }

func collect(opts []Option) options {
	o := options{types: []tensor.DType{tensor.F32, tensor.BF16}}
	for _, f := range opts {
		f(&o)
	}
	return o
}

func (o *options) wants(s *spec) bool {
	if o.largest > 0 {
		return (len(o.ops) == 0 || slices.Contains(o.ops, s.op)) && s.work <= o.largest
	}
	return (slices.Contains(o.sizes, s.size) || len(o.sizes) == 0 && s.size == tile) && (len(o.ops) == 0 || slices.Contains(o.ops, s.op)) && strings.HasPrefix(s.name, o.named) && (o.maxWork == 0 || s.work <= o.maxWork)
}
