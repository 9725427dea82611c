// Package decode turns the bytes of a picture file (PNG, JPEG, GIF, BMP, TIFF, WebP) into planes of samples.
//
// The oracle is Pillow: a picture read with three channels is what Image.open(f).convert("RGB") gives, within one
// level. As there, the EXIF orientation of JPEG, PNG and WebP files is not applied and that of TIFF files is, gamma and
// colour profiles are ignored, alpha is dropped, and of several frames or pages the first is read. A property that is
// not read is an error that says "not supported" and names it; "damaged" is said of files that break their format.
// testdata/make.py wrote the pictures and pixels that the tests compare with.
package decode

import (
	"errors"
	"fmt"

	"github.com/dino-mx/dmx/data"
)

// format is one kind of image file.
type format struct {
	name string
	head func(b []byte) (head, error)
	// decode writes the h.channels planes of the picture to the first planes of m, having called m.Reset with the
	// given number of channels. Planes beyond the first of a grey picture are filled by the caller.
	decode func(b []byte, h head, channels int, m *data.Image) error
	// expansion bounds how many samples one byte of the file can stand for, 0 if the format sets no bound. It tells a
	// hostile header from a picture before memory is allocated.
	expansion int
}

var (
	formatPNG  = format{"PNG", pngHead, pngDecode, 8 * 1032} // deflate's limit, 1-bit samples
	formatJPEG = format{"JPEG", jpegHead, jpegDecode, 4096}  // end-of-band runs of progressive scans
	formatGIF  = format{"GIF", gifHead, gifDecode, 4096}     // longest LZW string
	formatBMP  = format{"BMP", bmpHead, bmpDecode, 256}      // a run of 255 in two bytes
	formatTIFF = format{"TIFF", tiffHead, tiffDecode, 8 * 4096}
	formatWebP = format{"WebP", webpHead, webpDecode, 0}
)

// sniff tells the format by the first bytes, whatever the file is called.
func sniff(b []byte) (format, error) {
	has := func(at int, s string) bool { return len(b) >= at+len(s) && string(b[at:at+len(s)]) == s }
	switch {
	case has(0, "\x89PNG\r\n\x1a\n"):
		return formatPNG, nil
	case has(0, "\xff\xd8"):
		return formatJPEG, nil
	case has(0, "GIF8"):
		return formatGIF, nil
	case has(0, "BM"):
		return formatBMP, nil
	case has(0, "II*\x00"), has(0, "MM\x00*"), has(0, "II+\x00"), has(0, "MM\x00+"):
		return formatTIFF, nil
	case has(0, "RIFF") && has(8, "WEBP"):
		return formatWebP, nil
	case len(b) == 0:
		return format{}, errors.New("the file is empty")
	}
	return format{}, fmt.Errorf("not an image: it starts with % x, which is none of PNG, JPEG, GIF, BMP, TIFF and WebP",
		b[:min(8, len(b))])
}

// explain words the error of a format's reader.
func (f format) explain(err error) error {
	var u unsupported
	if errors.As(err, &u) {
		return fmt.Errorf("not supported: %s with %s; convert it to an 8-bit PNG", f.name, string(u))
	}
	return fmt.Errorf("damaged %s: %w", f.name, err)
}

// guard turns a panic of a decoder on damaged bytes into an error.
func guard(name string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("damaged %s: %v", name, r)
	}
}

// header reads what the header of an encoded picture announces.
func header(b []byte) (h head, f format, err error) {
	if f, err = sniff(b); err != nil {
		return h, f, err
	}
	defer guard(f.name, &err)
	if h, err = f.head(b); err != nil {
		return h, f, f.explain(err)
	}
	if h.width <= 0 || h.height <= 0 {
		return h, f, fmt.Errorf("damaged %s: its header says %d x %d pixels", f.name, h.width, h.height)
	}
	if h.width > data.MaxPixels/h.height {
		return h, f, fmt.Errorf("%s of %d x %d pixels: at most %d pixels are read", f.name, h.width, h.height, data.MaxPixels)
	}
	if n := h.width * h.height; f.expansion > 0 && n/f.expansion > len(b)+1024 {
		return h, f, fmt.Errorf("damaged %s: its header says %d x %d pixels, more than %d bytes can hold",
			f.name, h.width, h.height, len(b))
	}
	return h, f, nil
}

// Image decodes an encoded picture into m as the given number of channels. A grey picture fills every channel; one of
// 16 bits that is read as RGB is clipped to 0…255, as Pillow does. A picture with more channels than the given number
// is an error. Alpha is dropped.
func Image(b []byte, channels int, m *data.Image) (err error) {
	h, f, err := header(b)
	if err != nil {
		return err
	}
	if h.channels > channels {
		return fmt.Errorf("the picture has %d channels, expected %d like the first pictures of the data; "+
			"convert it, or the others", h.channels, channels)
	}
	if h.channels == 3 && channels != 3 {
		return fmt.Errorf("the picture has 3 channels, expected %d", channels)
	}
	defer guard(f.name, &err)
	if err := f.decode(b, h, channels, m); err != nil {
		return f.explain(err)
	}
	if h.channels == 1 {
		if channels == 3 && m.Type == data.U16 && h.clipped {
			clip16(m)
		}
		replicate(m)
	}
	return nil
}

// Channels is the number of channels, 1 or 3, that the header of an encoded picture announces.
func Channels(b []byte) (int, error) {
	h, _, err := header(b)
	return h.channels, err
}
