package decode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"

	"golang.org/x/image/vp8"
	"golang.org/x/image/vp8l"

	"github.com/dino-mx/dmx/data"
)

// webpFrame is the picture, or the first frame, of a WebP file and the canvas it lies on.
type webpFrame struct {
	width, height int    // of the canvas
	left, top     int    // of the frame
	lossy         []byte // the VP8 bit stream, or nil
	lossless      []byte // the VP8L bit stream, or nil
}

var errWebPShort = errors.New("the file ends before its picture")

// riffChunk splits off the first chunk.
func riffChunk(b []byte) (kind string, body, rest []byte, err error) {
	if len(b) < 8 {
		return "", nil, nil, errWebPShort
	}
	n := int(binary.LittleEndian.Uint32(b[4:]))
	if n > len(b)-8 {
		return "", nil, nil, errWebPShort
	}
	return string(b[:4]), b[8 : 8+n], b[min(len(b), 8+n+n&1):], nil
}

func le24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// readWebP finds the picture. Chunks of alpha, which is dropped, of metadata and of further frames are passed over.
func readWebP(b []byte) (f webpFrame, err error) {
	if len(b) < 12 {
		return f, errWebPShort
	}
	rest := b[12:]
	for f.lossy == nil && f.lossless == nil {
		var kind string
		var body []byte
		if kind, body, rest, err = riffChunk(rest); err != nil {
			return f, err
		}
		switch kind {
		case "VP8X":
			if len(body) < 10 {
				return f, errWebPShort
			}
			f.width, f.height = 1+le24(body[4:]), 1+le24(body[7:])
		case "ANMF":
			if len(body) < 16 {
				return f, errWebPShort
			}
			f.left, f.top = 2*le24(body), 2*le24(body[3:])
			rest = body[16:]
		case "VP8 ":
			f.lossy = body
		case "VP8L":
			f.lossless = body
		}
	}
	w, h, err := f.size()
	if err != nil {
		return f, err
	}
	if f.width == 0 {
		f.width, f.height = w, h
	}
	if f.left+w > f.width || f.top+h > f.height {
		return f, fmt.Errorf("its frame of %d x %d pixels at %d, %d is outside the canvas of %d x %d",
			w, h, f.left, f.top, f.width, f.height)
	}
	return f, nil
}

// size is that of the frame.
func (f webpFrame) size() (w, h int, err error) {
	if f.lossless != nil {
		c, err := vp8l.DecodeConfig(bytes.NewReader(f.lossless))
		return c.Width, c.Height, err
	}
	d := vp8.NewDecoder()
	d.Init(bytes.NewReader(f.lossy), len(f.lossy))
	c, err := d.DecodeFrameHeader()
	if err == nil && !c.KeyFrame {
		err = errors.New("its VP8 frame is not a key frame")
	}
	return c.Width, c.Height, err
}

func webpHead(b []byte) (head, error) {
	f, err := readWebP(b)
	return head{width: f.width, height: f.height, channels: 3}, err
}

func webpDecode(b []byte, h head, channels int, m *data.Image) error {
	f, err := readWebP(b)
	if err != nil {
		return err
	}
	w, tall, err := f.size()
	if err != nil {
		return err
	}
	frame := m
	whole := w == h.width && tall == h.height
	if !whole {
		frame = new(data.Image)
	}
	if f.lossy != nil {
		d := vp8.NewDecoder()
		d.Init(bytes.NewReader(f.lossy), len(f.lossy))
		if _, err := d.DecodeFrameHeader(); err != nil {
			return err
		}
		p, err := d.DecodeFrame()
		if err != nil {
			return err
		}
		frame.Reset(channels, tall, w, data.U8)
		fromVideo(p, frame)
	} else {
		src, err := vp8l.Decode(bytes.NewReader(f.lossless))
		if err != nil {
			return err
		}
		p, ok := src.(*image.NRGBA)
		if !ok {
			return fmt.Errorf("decoded as %T", src)
		}
		frame.Reset(channels, tall, w, data.U8)
		fromPixels8(p.Pix, p.Stride, 3, frame)
	}
	if whole {
		return nil
	}
	// The rest of the canvas is transparent black.
	m.Reset(channels, h.height, h.width, data.U8)
	clear(m.U8)
	for c := range 3 {
		in, out := frame.Plane8(c), m.Plane8(c)
		for y := range tall {
			copy(out[(f.top+y)*h.width+f.left:][:w], in[y*w:])
		}
	}
	return nil
}
