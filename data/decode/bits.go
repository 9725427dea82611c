package decode

// unpackBits writes to out samples of 1, 2 or 4 bits, the first in the high bits of packed[0].
func unpackBits(out, packed []byte, bits int) {
	each := 8 / bits
	mask := byte(1<<bits - 1)
	for x := range out {
		out[x] = packed[x/each] >> (8 - bits - x%each*bits) & mask
	}
}
