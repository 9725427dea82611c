package ptx

// wavefronts is the number of bank cycles of one shared memory request: 32 banks of four bytes; requests of 8
// and 16 bytes a lane are served by half and quarter warps. ideal is the least possible.
func wavefronts(addrs *lanes, m uint32, size int) (used, ideal int64) {
	per := 32
	switch size {
	case 8:
		per = 16
	case 16:
		per = 8
	}
	for lo := 0; lo < 32; lo += per {
		u := bankCycles(addrs, m>>lo&uint32(uint64(1)<<per-1)<<lo, size)
		if u > 0 {
			used += u
			ideal++
		}
	}
	return used, ideal
}

// bankCycles counts, for the lanes of one phase, the largest number of different words in one bank.
func bankCycles(addrs *lanes, m uint32, size int) int64 {
	var count [32]int8
	var words [128]uint64
	n := 0
	worst := int8(0)
	for l := 0; l < 32; l++ {
		if m>>l&1 == 0 {
			continue
		}
	next:
		for a := addrs[l] / 4; a <= (addrs[l]+uint64(size)-1)/4; a++ {
			for _, o := range words[:n] {
				if o == a {
					continue next
				}
			}
			words[n] = a
			n++
			b := a % 32
			count[b]++
			worst = max(worst, count[b])
		}
	}
	return int64(worst)
}
