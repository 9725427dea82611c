package ref

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Patchify copies every p×p patch of every image into one row.
func (b *Backend) Patchify(out, images *tensor.Tensor, p int) {
	kernels.CheckPatchify(out, images, p)
	b.begin()
	s := images.Shape()
	n, channels, height, width := s[0], s[1], s[2], s[3]
	pixels, row := b.load(images), b.take(channels*p*p)
	at := 0
	for i := range n {
		for py := range height / p {
			for px := range width / p {
				for c := range channels {
					for y := range p {
						for x := range p {
							row[(c*p+y)*p+x] = pixels[((i*channels+c)*height+py*p+y)*width+px*p+x]
						}
					}
				}
				store(out, at, row)
				at += len(row)
			}
		}
	}
}

// GatherRows is out[i] = table[index[i]].
func (b *Backend) GatherRows(out, table, index *tensor.Tensor, accumulate bool) {
	kernels.CheckGatherRows(out, table, index)
	b.begin()
	_, cols := kernels.Matrix(out)
	row := b.take(cols)
	for i, from := range index.I32() {
		switch {
		case from >= 0:
			fetch(row, table, int(from)*cols)
			b.addTo(out, i*cols, row, accumulate)
		case !accumulate:
			clear(row)
			store(out, i*cols, row)
		}
	}
}

// ScatterRows is dtable[r] = Σ_j dout[rows[j]] over the j of r.
func (b *Backend) ScatterRows(dtable, dout, starts, rows *tensor.Tensor, accumulate bool) {
	kernels.CheckScatterRows(dtable, dout, starts, rows)
	b.begin()
	n, cols := kernels.Matrix(dtable)
	source, sum, first := b.load(dout), b.take(cols), starts.I32()
	for r := range n {
		clear(sum)
		for _, from := range rows.I32()[first[r]:first[r+1]] {
			for c := range sum {
				sum[c] += source[int(from)*cols+c]
			}
		}
		b.addTo(dtable, r*cols, sum, accumulate)
	}
}
