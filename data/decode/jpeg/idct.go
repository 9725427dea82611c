package jpeg

// The constants of the inverse transform with 13 bits of fraction. The algorithm is that of Loeffler, Ligtenberg and
// Moschytz (ICASSP 1989, figure 1, transposed), with the order of operations and the rounding of libjpeg's accurate
// integer transform, so that samples come out equal to it.
const (
	fix0298 = 2446  // 0.298631336
	fix0390 = 3196  // 0.390180644
	fix0541 = 4433  // 0.541196100
	fix0765 = 6270  // 0.765366865
	fix0899 = 7373  // 0.899976223
	fix1175 = 9633  // 1.175875602
	fix1501 = 12299 // 1.501321110
	fix1847 = 15137 // 1.847759065
	fix1961 = 16069 // 1.961570560
	fix2053 = 16819 // 2.053119869
	fix2562 = 20995 // 2.562915447
	fix3072 = 25172 // 3.072711026

	fraction = 13
	kept     = 2 // bits of fraction between the two passes
)

// inverse transforms a block of coefficients, row by row, to 8 x 8 samples of 0…255.
func inverse(block *[64]int32, out []byte, stride int) {
	for x := range 8 {
		c := block[x:]
		if c[8]|c[16]|c[24]|c[32]|c[40]|c[48]|c[56] == 0 {
			v := c[0] << kept
			c[0], c[8], c[16], c[24], c[32], c[40], c[48], c[56] = v, v, v, v, v, v, v, v
			continue
		}
		const shift = fraction - kept
		const half = 1 << (shift - 1)
		e0, e1, e2, e3, o0, o1, o2, o3 := butterfly(c[0], c[8], c[16], c[24], c[32], c[40], c[48], c[56])
		c[0], c[56] = (e0+o3+half)>>shift, (e0-o3+half)>>shift
		c[8], c[48] = (e1+o2+half)>>shift, (e1-o2+half)>>shift
		c[16], c[40] = (e2+o1+half)>>shift, (e2-o1+half)>>shift
		c[24], c[32] = (e3+o0+half)>>shift, (e3-o0+half)>>shift
	}
	for y := range 8 {
		c := block[8*y : 8*y+8 : 8*y+8]
		row := out[y*stride:][:8:8]
		const shift = fraction + kept + 3
		const half = 1<<(shift-1) + 128<<shift
		if c[1]|c[2]|c[3]|c[4]|c[5]|c[6]|c[7] == 0 {
			v := sample((c[0]<<fraction + half) >> shift)
			row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7] = v, v, v, v, v, v, v, v
			continue
		}
		e0, e1, e2, e3, o0, o1, o2, o3 := butterfly(c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
		row[0], row[7] = sample((e0+o3+half)>>shift), sample((e0-o3+half)>>shift)
		row[1], row[6] = sample((e1+o2+half)>>shift), sample((e1-o2+half)>>shift)
		row[2], row[5] = sample((e2+o1+half)>>shift), sample((e2-o1+half)>>shift)
		row[3], row[4] = sample((e3+o0+half)>>shift), sample((e3-o0+half)>>shift)
	}
}

// butterfly is one pass over eight coefficients: the four sums of the even ones and the four of the odd ones.
func butterfly(c0, c1, c2, c3, c4, c5, c6, c7 int32) (e0, e1, e2, e3, o0, o1, o2, o3 int32) {
	z1 := (c2 + c6) * fix0541
	t2, t3 := z1-c6*fix1847, z1+c2*fix0765
	t0, t1 := (c0+c4)<<fraction, (c0-c4)<<fraction
	e0, e1, e2, e3 = t0+t3, t1+t2, t1-t2, t0-t3

	z1, z2, z3, z4 := c7+c1, c5+c3, c7+c3, c5+c1
	z5 := (z3 + z4) * fix1175
	z1, z2 = -z1*fix0899, -z2*fix2562
	z3, z4 = z5-z3*fix1961, z5-z4*fix0390
	o0 = c7*fix0298 + z1 + z3
	o1 = c5*fix2053 + z2 + z4
	o2 = c3*fix3072 + z2 + z3
	o3 = c1*fix1501 + z1 + z4
	return e0, e1, e2, e3, o0, o1, o2, o3
}

// sample limits a value to 0…255.
func sample(v int32) byte {
	if uint32(v) > 255 {
		return byte(^v >> 31)
	}
	return byte(v)
}
