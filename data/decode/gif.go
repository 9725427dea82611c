package decode

import (
	"compress/lzw"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/dino-mx/dmx/data"
)

// gifFrame is the first frame of a GIF file and the screen it lies on.
type gifFrame struct {
	width, height        int // of the screen, extended to hold the frame
	left, top            int
	frameWide, frameTall int
	interlaced           bool
	palette              []byte // of three bytes an entry; nil if the file has none
	transparent          int    // the index that fills the rest of the screen, 0 without one
	data                 []byte // the code size and the sub-blocks of codes
}

var errGIFShort = errors.New("the file ends before the first frame")

// readGIF finds the first frame.
func readGIF(b []byte) (f gifFrame, err error) {
	if len(b) < 13 {
		return f, errGIFShort
	}
	if v := string(b[:6]); v != "GIF87a" && v != "GIF89a" {
		return f, fmt.Errorf("unknown version %q", v)
	}
	f.width, f.height = int(binary.LittleEndian.Uint16(b[6:])), int(binary.LittleEndian.Uint16(b[8:]))
	at := 13
	// table reads the colour table that the flags announce.
	table := func(flags byte) error {
		if flags&0x80 == 0 {
			return nil
		}
		n := 3 << (1 + flags&7)
		if at+n > len(b) {
			return errors.New("the file ends in a colour table")
		}
		f.palette, at = b[at:at+n], at+n
		return nil
	}
	if err := table(b[10]); err != nil {
		return f, err
	}
	for {
		if at >= len(b) {
			return f, errGIFShort
		}
		switch b[at] {
		case ';':
			return f, errors.New("it holds no frame")
		case '!':
			if at+2 > len(b) {
				return f, errGIFShort
			}
			kind := b[at+1]
			for at += 2; ; {
				if at >= len(b) || at+1+int(b[at]) > len(b) {
					return f, errGIFShort
				}
				block := b[at+1 : at+1+int(b[at])]
				at += 1 + len(block)
				if len(block) == 0 {
					break
				}
				if kind == 0xf9 && len(block) >= 4 && block[0]&1 != 0 {
					f.transparent = int(block[3])
				}
			}
		case ',':
			if at+10 > len(b) {
				return f, errGIFShort
			}
			d := b[at+1 : at+10]
			at += 10
			f.left, f.top = int(binary.LittleEndian.Uint16(d)), int(binary.LittleEndian.Uint16(d[2:]))
			f.frameWide, f.frameTall = int(binary.LittleEndian.Uint16(d[4:])), int(binary.LittleEndian.Uint16(d[6:]))
			f.width, f.height = max(f.width, f.left+f.frameWide), max(f.height, f.top+f.frameTall)
			f.interlaced = d[8]&0x40 != 0
			if err := table(d[8]); err != nil {
				return f, err
			}
			if at >= len(b) {
				return f, errGIFShort
			}
			f.data = b[at:]
			return f, nil
		default:
			at++ // stray bytes between blocks, as Pillow passes over them
		}
	}
}

// colours is the palette of the frame and its length. A file without one holds grey levels.
func (f gifFrame) colours() (*colours, int) {
	n := len(f.palette) / 3
	return newColours(f.palette, n, 3, 0, 1, 2), n
}

func gifHead(b []byte) (head, error) {
	f, err := readGIF(b)
	if err != nil {
		return head{}, err
	}
	t, n := f.colours()
	return head{width: f.width, height: f.height, channels: t.channels(n)}, nil
}

// gifBlocks reads the bytes of a chain of sub-blocks.
type gifBlocks struct {
	b    []byte
	left int // of the current sub-block
}

func (g *gifBlocks) ReadByte() (byte, error) {
	for g.left == 0 {
		if len(g.b) == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		g.left, g.b = int(g.b[0]), g.b[1:]
		if g.left == 0 {
			g.b = nil
			return 0, io.EOF
		}
	}
	if len(g.b) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	v := g.b[0]
	g.b, g.left = g.b[1:], g.left-1
	return v, nil
}

func (g *gifBlocks) Read(p []byte) (int, error) {
	for i := range p {
		v, err := g.ReadByte()
		if err != nil {
			return i, err
		}
		p[i] = v
	}
	return len(p), nil
}

func gifDecode(b []byte, h head, channels int, m *data.Image) error {
	f, err := readGIF(b)
	if err != nil {
		return err
	}
	size := int(f.data[0])
	if size < 2 || size > 8 {
		return fmt.Errorf("the code size is %d, expected 2 to 8", size)
	}
	t, _ := f.colours()
	m.Reset(channels, h.height, h.width, data.U8)
	row := make([]byte, max(h.width, f.frameWide))
	for x := range row {
		row[x] = uint8(f.transparent)
	}
	if f.frameWide < h.width || f.frameTall < h.height {
		for y := range h.height {
			t.fill(m, h.channels, y*h.width, row[:h.width])
		}
	}
	codes := lzw.NewReader(&gifBlocks{b: f.data[1:]}, lzw.LSB, size)
	defer codes.Close()
	for i := range f.frameTall {
		if _, err := io.ReadFull(codes, row[:f.frameWide]); err != nil {
			return fmt.Errorf("row %d of %d: %w", i, f.frameTall, err)
		}
		y := i
		if f.interlaced {
			y = gifRow(i, f.frameTall)
		}
		t.fill(m, h.channels, (f.top+y)*h.width+f.left, row[:f.frameWide])
	}
	return nil
}

// gifRow is the row of the picture that is stored as row i of an interlaced frame: every eighth row from the first,
// every eighth from the fifth, every fourth from the third, every second from the second.
func gifRow(i, tall int) int {
	for _, pass := range [4][2]int{{0, 8}, {4, 8}, {2, 4}, {1, 2}} {
		n := (tall - pass[0] + pass[1] - 1) / pass[1]
		if tall <= pass[0] {
			n = 0
		}
		if i < n {
			return pass[0] + i*pass[1]
		}
		i -= n
	}
	return tall - 1
}
