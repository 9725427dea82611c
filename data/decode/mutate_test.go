package decode

import (
	"encoding/binary"
	"flag"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dino-mx/dmx/data"
)

var mutations = flag.Int("mutations", 1500, "how many damaged pictures TestMutations decodes")

// mutate damages a picture: bits flipped, the end cut off, a header field set to an extreme.
func mutate(b []byte, rng *rand.Rand) []byte {
	b = append([]byte(nil), b...)
	switch rng.IntN(8) {
	case 0:
		return b[:rng.IntN(len(b))]
	case 1:
		at := rng.IntN(min(len(b), 200))
		for i := at; i < min(len(b), at+1<<rng.IntN(3)); i++ {
			b[i] = []byte{0, 0xff, 0x7f, 0x80}[rng.IntN(4)]
		}
	case 2:
		from, to := rng.IntN(len(b)), rng.IntN(len(b))
		copy(b[to:min(len(b), to+16)], b[from:])
	default:
		for range 1 + rng.IntN(4) {
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		}
	}
	if rng.IntN(2) == 0 {
		sealPNG(b)
	}
	return b
}

// sealPNG makes the checksums of a PNG file right again, so that damage goes deeper than to them.
func sealPNG(b []byte) {
	if _, err := sniff(b); err != nil || b[0] != 0x89 {
		return
	}
	for at := 8; at+12 <= len(b); {
		n := int(binary.BigEndian.Uint32(b[at:]))
		if n > len(b)-at-12 {
			return
		}
		binary.BigEndian.PutUint32(b[at+8+n:], crc32.ChecksumIEEE(b[at+4:at+8+n]))
		at += 12 + n
	}
}

// Damaged pictures end in an error or in a picture of the announced size: no panic, not even one that is caught, no
// decoding that does not end, no more memory than a few bytes for each announced pixel.
func TestMutations(t *testing.T) {
	files, err := filepath.Glob("testdata/pictures/*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var read, refused int
	var m data.Image
	for i := range *mutations {
		name := files[i%len(files)]
		good, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(uint64(i), 7))
		b := mutate(good, rng)
		h, _, err := header(b)
		pixels := 0
		if err == nil {
			pixels = h.width * h.height
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		m = data.Image{}
		err = Image(b, 3, &m)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		used := after.TotalAlloc - before.TotalAlloc
		if most := uint64(24*pixels + 8<<20); used > most {
			t.Errorf("%s, mutation %d: %d bytes for %d pixels (%v)", name, i, used, pixels, err)
		}
		if took > 20*time.Second {
			t.Errorf("%s, mutation %d: decoded for %v", name, i, took)
		}
		if err != nil {
			refused++
			if strings.Contains(err.Error(), "runtime error") {
				t.Errorf("%s, mutation %d: a panic was caught: %v", name, i, err)
			}
			continue
		}
		read++
		if m.Channels != 3 || m.Width != h.width || m.Height != h.height {
			t.Errorf("%s, mutation %d: %d x %d x %d, the header says %d x %d",
				name, i, m.Channels, m.Height, m.Width, h.height, h.width)
		}
		if err := Image(b, h.channels, &m); err != nil || m.Channels != h.channels {
			t.Errorf("%s, mutation %d: as %d channels: %v", name, i, h.channels, err)
		}
	}
	t.Logf("%d damaged pictures: %d refused, %d read", *mutations, refused, read)
}
