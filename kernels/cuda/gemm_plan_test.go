package cuda

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What version 3 does with the products of a DINOv2 step on the 132 multiprocessors of an H100, and how much of the
// machine's tensor cores the waves of tiles can use at most: the products' own clocks over those of all waves.
func TestPlanGemmV3(t *testing.T) {
	const sms = 132
	for _, c := range []struct {
		name    string
		m, n, k int
		tileN   int
		splits  int
		waves   int
		usable  int // percent of the tensor cores' clocks in all waves
	}{
		// ViT-S/14, 8 images: 3,152 tokens.
		{"S qkv", 3152, 1152, 384, 256, 1, 1, 83},
		{"S proj", 3152, 384, 384, 128, 1, 1, 55},
		{"S fc1", 3152, 1536, 384, 128, 1, 3, 74},
		{"S fc2", 3152, 384, 1536, 128, 1, 1, 55},
		{"S fc1 weights", 1536, 384, 3152, 128, 3, 1, 79},
		// ViT-B/14, 64 images of 257 tokens.
		{"B qkv", 16448, 2304, 768, 128, 1, 18, 97},
		{"B proj", 16448, 768, 768, 128, 1, 6, 97},
		{"B fc1", 16448, 3072, 768, 128, 1, 24, 97},
		{"B fc2", 16448, 768, 3072, 256, 1, 3, 97},
		{"B fc1 weights", 3072, 768, 16448, 256, 3, 2, 81},
		{"B proj weights", 768, 768, 16448, 256, 7, 1, 94},
		// ViT-L, 50,432 tokens.
		{"L qkv", 50432, 3072, 1024, 128, 1, 72, 99},
		{"L fc1", 50432, 4096, 1024, 128, 1, 96, 99},
		{"L fc2", 50432, 1024, 4096, 256, 1, 12, 99},
		// Prototypes: 64 rows of a bottleneck of 256, 65,536 of them; their gradients.
		{"prototypes", 64, 65536, 256, 128, 1, 4, 48},
		{"prototypes dx", 64, 256, 65536, 128, 64, 1, 48},
		{"prototypes dw", 65536, 256, 64, 128, 1, 8, 96},
		{"cube", 4096, 4096, 4096, 256, 1, 4, 96},
	} {
		p := PlanGemmV3(c.m, c.n, c.k, sms)
		waves := ceil(p.Items, sms)
		flops := 2 * float64(c.m) * float64(c.n) * float64(c.k)
		room := float64(waves) * sms * float64(ceil(min(p.Part, c.k), v3TileK)) * 2 * v3TileM * float64(p.TileN) * v3TileK
		got := fmt.Sprint(p.TileN, p.Splits, waves, int(100*flops/room))
		want := fmt.Sprint(c.tileN, c.splits, c.waves, c.usable)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s %dx%dx%d: tile, splits, waves, percent: %s", c.name, c.m, c.n, c.k, diff)
		}
	}
}
