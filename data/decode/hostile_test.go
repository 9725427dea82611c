package decode

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/data"
)

func fixture(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/pictures/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A stream cannot make the decoder work without end by repeating its scan.
func TestScansAreCounted(t *testing.T) {
	b := fixture(t, "jpeg-grey.jpg")
	at := bytes.Index(b, []byte{0xff, 0xda})
	scan, end := b[at:len(b)-2], b[len(b)-2:]
	for _, c := range []struct {
		scans int
		want  string
	}{{1000, ""}, {1001, "not supported: JPEG with more than 1000 scans"}} {
		many := append(append(bytes.Clone(b[:at]), bytes.Repeat(scan, c.scans)...), end...)
		var m data.Image
		err := Image(many, 1, &m)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%d scans: %v, expected %q", c.scans, err, c.want)
		}
	}
}

// A header that announces more than the file can hold is refused before memory is allocated.
func TestAnnouncedSize(t *testing.T) {
	tests := []struct {
		name string
		file string
		set  func(b []byte)
	}{
		{"BMP", "bmp-24.bmp", func(b []byte) {
			binary.LittleEndian.PutUint32(b[18:], 11000)
			binary.LittleEndian.PutUint32(b[22:], 11000)
		}},
		{"TIFF", "tiff-grey-8-min-is-white.tif", func(b []byte) {
			setTIFF(t, b, 256, 11000)
			setTIFF(t, b, 257, 11000)
			setTIFF(t, b, 278, 11000)
		}},
		{"GIF", "gif-palette-16.gif", func(b []byte) {
			binary.LittleEndian.PutUint16(b[6:], 11000)
			binary.LittleEndian.PutUint16(b[8:], 11000)
		}},
	}
	for _, c := range tests {
		b := fixture(t, c.file)
		c.set(b)
		_, err := Channels(b)
		if err == nil || !strings.Contains(err.Error(), "11000 x 11000 pixels, more than") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// setTIFF changes the value of a tag of a little-endian file.
func setTIFF(t *testing.T, b []byte, tag, value int) {
	t.Helper()
	at := int(binary.LittleEndian.Uint32(b[4:]))
	for i := range int(binary.LittleEndian.Uint16(b[at:])) {
		e := b[at+2+12*i:]
		if int(binary.LittleEndian.Uint16(e)) == tag {
			binary.LittleEndian.PutUint32(e[8:], uint32(value))
			return
		}
	}
	t.Fatalf("no tag %d", tag)
}

// A grey picture of 16 bits keeps its samples as one channel and is clipped as RGB.
func TestSixteenBitsAsRGB(t *testing.T) {
	b := fixture(t, "png-grey-16.png")
	var grey, rgb data.Image
	if err := Image(b, 1, &grey); err != nil {
		t.Fatal(err)
	}
	if err := Image(b, 3, &rgb); err != nil {
		t.Fatal(err)
	}
	for x, want := range []int{0, 1, 255, 256, 300, 65535} {
		if got := grey.At(0, 0, x); grey.Type != data.U16 || got != want {
			t.Errorf("grey pixel %d is %d of type %d, expected %d", x, got, grey.Type, want)
		}
		for c := range 3 {
			if got := rgb.At(c, 0, x); rgb.Type != data.U8 || got != min(255, want) {
				t.Errorf("channel %d of pixel %d is %d of type %d, expected %d", c, x, got, rgb.Type, min(255, want))
			}
		}
	}
}
