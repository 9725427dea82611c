// Package mask decides which patches of the global crops the student does not see: the block-wise masking of
// BEiT as DINOv2 and DINOv3 run it, and plain random masking.
//
// Masks are a function of (seed, step, crop), with crops numbered through the batch of all processes, and of how many crops
// that batch has: which of them get a mask, and what share of each, is drawn for the batch as a whole. So they do not
// depend on threads, on ranks, or on the parts that a batch passes through a network in. The package knows nothing of models
// or tensors.
package mask

import (
	"fmt"
	"math"

	"github.com/dino-mx/dmx/tensor"
)

// Settings describes the masks of a batch of crops, of all processes that train together.
type Settings struct {
	GridH, GridW int // patches of a crop
	// Probability is the share of the crops that get a mask: int(crops·Probability) of them.
	Probability float64
	// Ratio is the range of the masked share. It is cut into as many equal bins as crops get a mask, one crop to
	// each bin.
	Ratio [2]float64
	// Exact masks the bin's upper bound and fills what blocks leave over with single patches (DINOv3); otherwise
	// a ratio is drawn inside the bin and blocks may fall short of it (DINOv2).
	Exact bool
	// Random masks single patches instead of blocks; the count is then always met.
	Random bool
}

// Validate names the first setting out of range.
func (s Settings) Validate() error {
	switch {
	case s.GridH < 1 || s.GridW < 1:
		return fmt.Errorf("mask settings: the grid is %dx%d patches; it must have at least one", s.GridH, s.GridW)
	case !(s.Probability >= 0 && s.Probability <= 1):
		return fmt.Errorf("mask settings: mask_sample_probability is %v; it must be in [0, 1]", s.Probability)
	case !(s.Ratio[0] >= 0 && s.Ratio[0] <= s.Ratio[1] && s.Ratio[1] <= 1):
		return fmt.Errorf("mask settings: mask_ratio_min_max is %v; it must ascend within [0, 1]", s.Ratio)
	}
	return nil
}

// Masked is the number of crops that get a mask.
func (s Settings) Masked(crops int) int { return int(float64(crops) * s.Probability) }

// MaxPatches is the largest number of patches masked in a batch.
func (s Settings) MaxPatches(crops int) int {
	n, total := s.Masked(crops), 0
	for i := range n {
		_, hi := s.bin(i, n)
		total += int(float64(s.GridH*s.GridW) * hi)
	}
	return total
}

// bin is bin i of n of the ratio range.
func (s Settings) bin(i, n int) (lo, hi float64) {
	width := (s.Ratio[1] - s.Ratio[0]) / float64(n)
	lo, hi = s.Ratio[0]+float64(i)*width, s.Ratio[0]+float64(i+1)*width
	if i == n-1 {
		hi = s.Ratio[1]
	}
	return lo, hi
}

// The stream numbers keep mask draws apart from all others of the same seed.
const (
	shufflePurpose = 0x01_00_02_00
	cropPurpose    = 0x01_00_02_01
)

// Shape of a block, as in the reference generator.
const (
	minBlock  = 4   // patches
	minAspect = 0.3 // to 1/0.3, drawn evenly in the logarithm
	tries     = 10
)

// Fill writes the masks of a batch: dst has GridH·GridW entries a crop, row by row, for crops 0 to crops-1 of the
// step: all crops of all processes. It allocates nothing but the order of the crops.
func (s Settings) Fill(dst []bool, crops int, seed uint64, step uint32) {
	cells := s.GridH * s.GridW
	if len(dst) != crops*cells {
		panic(fmt.Sprintf("mask: %d entries for %d crops of %d patches", len(dst), crops, cells))
	}
	clear(dst)
	n := s.Masked(crops)
	if n == 0 {
		return
	}
	order := tensor.NewRand(seed, step, 0, shufflePurpose).Perm(crops)
	for i, crop := range order[:n] {
		r := tensor.NewRand(seed, step, uint32(crop), cropPurpose)
		lo, hi := s.bin(i, n)
		ratio := hi
		if !s.Exact {
			ratio = r.Uniform(lo, hi)
		}
		s.crop(dst[crop*cells:(crop+1)*cells], int(float64(cells)*ratio), r)
	}
}

// crop masks up to target patches of one crop.
func (s Settings) crop(m []bool, target int, r *tensor.Rand) {
	count := 0
	if !s.Random {
		most := s.GridH / 2 * s.GridW // the reference's rounding: half the rows, all the columns
		for count < target {
			added := s.block(m, min(target-count, most), r)
			if added == 0 {
				break
			}
			count += added
		}
		if !s.Exact {
			return
		}
	}
	// Floyd's way of choosing would favour nothing either; walking to the k-th free patch keeps it to one draw a
	// patch.
	for ; count < target; count++ {
		k := r.Intn(len(m) - count)
		for j, used := range m {
			if used {
				continue
			}
			if k == 0 {
				m[j] = true
				break
			}
			k--
		}
	}
}

// block masks one rectangle with at most budget new patches and returns how many it added; 0 after ten tries.
func (s Settings) block(m []bool, budget int, r *tensor.Rand) int {
	limit := math.Log(minAspect)
	for range tries {
		area := r.Uniform(minBlock, float64(budget))
		aspect := math.Exp(r.Uniform(limit, -limit))
		h := int(math.RoundToEven(math.Sqrt(area * aspect)))
		w := int(math.RoundToEven(math.Sqrt(area / aspect)))
		if h >= s.GridH || w >= s.GridW {
			continue
		}
		top, left := r.Intn(s.GridH-h+1), r.Intn(s.GridW-w+1)
		fresh := 0
		for y := top; y < top+h; y++ {
			for x := left; x < left+w; x++ {
				if !m[y*s.GridW+x] {
					fresh++
				}
			}
		}
		if fresh == 0 || fresh > budget {
			continue
		}
		for y := top; y < top+h; y++ {
			for x := left; x < left+w; x++ {
				m[y*s.GridW+x] = true
			}
		}
		return fresh
	}
	return 0
}
