package optest

import (
	"strings"
	"testing"

	"github.com/dino-mx/dmx/kernels"
)

// Benchmark times the large rows of the table as sub-benchmarks operation/type/row, and reports GFLOP/s and GB/s of
// the counts in package kernels (every input read once, every output written once).
func Benchmark(b *testing.B, be kernels.Backend, opts ...Option) {
	o := collect(opts)
	o.sizes = []size{bench}
	for _, group := range groups(&o) {
		for _, dtype := range o.types {
			for _, s := range group {
				name := strings.Trim(strings.ReplaceAll("/"+s.name+"/", "/bench/", "/"), "/")
				b.Run(s.op+"/"+dtype.String()+"/"+strings.ReplaceAll(name, " ", "_"), func(b *testing.B) {
					r := s.row(dtype)
					mem, err := r.upload(be)
					defer release(mem)
					if err != nil {
						b.Fatal(err)
					}
					r.call(be) // warm up: caches, device forms of tables
					if err := be.Sync(); err != nil {
						b.Fatal(err)
					}
					for b.Loop() {
						r.call(be)
					}
					if err := be.Sync(); err != nil {
						b.Fatal(err)
					}
					seconds := b.Elapsed().Seconds() / float64(b.N)
					b.ReportMetric(float64(r.flops)/seconds/1e9, "GFLOP/s")
					b.ReportMetric(float64(r.bytes())/seconds/1e9, "GB/s")
				})
			}
		}
	}
}

// bytes is the least traffic of the row.
func (r *row) bytes() int64 {
	n := int64(0)
	for _, o := range r.operands {
		n += o.moved()
	}
	if r.unmoved != nil {
		n -= r.unmoved()
	}
	return n
}

// moved is the bytes of reading and writing an operand as its role says; 0 for none.
func (o *operand) moved() int64 {
	switch {
	case o == nil:
		return 0
	case o.half, o.role == in, o.role == out:
		return int64(o.t.NumBytes())
	case o.role == inout:
		return 2 * int64(o.t.NumBytes())
	}
	return 0
}
