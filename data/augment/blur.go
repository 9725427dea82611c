package augment

import "math"

// The Gaussian blur is Pillow's: three passes of an extended box filter in each direction (P. Gwosdek, S. Grewenig,
// A. Bruhn, J. Weickert, "Theoretical foundations of Gaussian convolution by extended box filtering", 2011), rounded to
// 8 bits after each pass.
const passes = 3

// boxOf is the whole and the fractional part of the box's radius for a standard deviation, equations 7, 11 and 14 of
// that paper in float32.
func boxOf(sigma float64) (radius int, extended float32) {
	variance := float32(sigma) * float32(sigma) / passes
	length := float32(math.Sqrt(12*float64(variance) + 1))
	l := float32(math.Floor((float64(length) - 1) / 2))
	a := float32(2*l+1) * float32(l*(l+1)-float32(3*variance))
	a /= 6 * float32(variance-(l+1)*(l+1))
	extended = l + a
	return int(extended), extended
}

// boxWeights is the weight of the inner rows and of the two outer ones, in 24 fraction bits.
func boxWeights(radius int, extended float32) (inner, outer uint32) {
	inner = uint32(float32(1<<24) / float32(float32(extended*2)+1))
	return inner, (1<<24 - uint32(2*radius+1)*inner) / 2
}

// blurrer holds the scratch of a blur.
type blurrer struct {
	turned, spare plane8
	at            []int32
}

// blur8 blurs one channel in place: along the rows first, by way of the transposed plane, then down the columns.
func (b *blurrer) blur8(p *plane8, sigma float64) {
	radius, extended := boxOf(sigma)
	inner, outer := boxWeights(radius, extended)
	b.turned.reset(p.width, p.height)
	b.spare.reset(p.width, p.height)
	transpose8(b.turned.pix, b.turned.stride, p.pix, p.stride, p.height, p.width)
	b.pass(&b.spare, &b.turned, radius, inner, outer)
	b.pass(&b.turned, &b.spare, radius, inner, outer)
	b.pass(&b.spare, &b.turned, radius, inner, outer)
	transpose8(p.pix, p.stride, b.spare.pix, b.spare.stride, p.width, p.height)
	b.turned.reset(p.height, p.width)
	b.spare.reset(p.height, p.width)
	b.pass(&b.turned, p, radius, inner, outer)
	b.pass(&b.spare, &b.turned, radius, inner, outer)
	b.pass(p, &b.spare, radius, inner, outer)
}

func (b *blurrer) pass(dst, src *plane8, radius int, inner, outer uint32) {
	b.at = grow(b.at, src.height+2*radius+2)
	for i := range b.at {
		b.at[i] = int32(max(0, min(src.height-1, i-radius-1)) * src.stride)
	}
	box8(dst.pix, dst.stride, src.pix, b.at, src.height, src.width, radius, inner, outer)
}
