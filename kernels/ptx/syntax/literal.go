package syntax

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// literal decodes an integer, 0fXXXXXXXX or 0dXXXXXXXXXXXXXXXX literal to its bits.
func literal(s string, neg bool, size int) (bits uint64, float bool, err error) {
	switch {
	case strings.HasPrefix(s, "0f") || strings.HasPrefix(s, "0F"):
		v, err := strconv.ParseUint(s[2:], 16, 32)
		if neg {
			v ^= 1 << 31
		}
		return v, true, err
	case strings.HasPrefix(s, "0d") || strings.HasPrefix(s, "0D"):
		v, err := strconv.ParseUint(s[2:], 16, 64)
		if neg {
			v ^= 1 << 63
		}
		return v, true, err
	case strings.ContainsAny(s, ".") || strings.ContainsAny(s, "eE") && !strings.HasPrefix(s, "0x"):
		f, err := strconv.ParseFloat(s, 64)
		if neg {
			f = -f
		}
		if size == 8 {
			return math.Float64bits(f), true, err
		}
		return uint64(math.Float32bits(float32(f))), true, err
	}
	v, err := strconv.ParseUint(strings.TrimSuffix(s, "U"), 0, 64)
	if err != nil {
		return 0, false, fmt.Errorf("bad literal %q", s)
	}
	if neg {
		v = -v
	}
	return v, false, nil
}
