// Package decode turns the bytes of a picture file (PNG, JPEG, GIF, BMP, TIFF, WebP) into planes of samples.
package decode

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	"github.com/dino-mx/dmx/data"
)

// format is one kind of image file.
type format struct {
	name   string
	config func([]byte) (image.Config, error)
	decode func([]byte) (image.Image, error)
	// expansion bounds how many samples one byte of the file can stand for, 0 if the format sets no bound. It tells a
	// hostile header from a picture before memory is allocated.
	expansion int
}

var formats = map[string]format{
	"png": {"PNG", func(b []byte) (image.Config, error) { return png.DecodeConfig(bytes.NewReader(b)) },
		func(b []byte) (image.Image, error) { return png.Decode(bytes.NewReader(b)) }, 8 * 1032}, // deflate's limit, 1-bit samples
	"jpeg": {"JPEG", func(b []byte) (image.Config, error) { return jpeg.DecodeConfig(bytes.NewReader(b)) },
		func(b []byte) (image.Image, error) { return jpeg.Decode(bytes.NewReader(b)) }, 4096}, // end-of-band runs of progressive scans
	"gif": {"GIF", func(b []byte) (image.Config, error) { return gif.DecodeConfig(bytes.NewReader(b)) },
		func(b []byte) (image.Image, error) { return gif.Decode(bytes.NewReader(b)) }, 4096}, // longest LZW string
	"bmp": {"BMP", func(b []byte) (image.Config, error) { return bmp.DecodeConfig(bytes.NewReader(b)) },
		func(b []byte) (image.Image, error) { return bmp.Decode(bytes.NewReader(b)) }, 256},
	"tiff": {"TIFF", func(b []byte) (image.Config, error) { return tiff.DecodeConfig(bytes.NewReader(b)) },
		func(b []byte) (image.Image, error) { return tiff.Decode(bytes.NewReader(b)) }, 8 * 4096},
	"webp": {"WebP", func(b []byte) (image.Config, error) { return webp.DecodeConfig(bytes.NewReader(b)) },
		func(b []byte) (image.Image, error) { return webp.Decode(bytes.NewReader(b)) }, 0},
}

// sniff tells the format by the first bytes, whatever the file is called.
func sniff(b []byte) (format, error) {
	has := func(at int, s string) bool { return len(b) >= at+len(s) && string(b[at:at+len(s)]) == s }
	switch {
	case has(0, "\x89PNG\r\n\x1a\n"):
		return formats["png"], nil
	case has(0, "\xff\xd8"):
		return formats["jpeg"], nil
	case has(0, "GIF8"):
		return formats["gif"], nil
	case has(0, "BM"):
		return formats["bmp"], nil
	case has(0, "II*\x00"), has(0, "MM\x00*"):
		return formats["tiff"], nil
	case has(0, "RIFF") && has(8, "WEBP"):
		return formats["webp"], nil
	case len(b) == 0:
		return format{}, errors.New("the file is empty")
	}
	return format{}, fmt.Errorf("not an image: it starts with % x, which is none of PNG, JPEG, GIF, BMP, TIFF and WebP", b[:min(8, len(b))])
}

// guard turns a panic of a decoder on damaged bytes into an error.
func guard(name string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("damaged %s: %v", name, r)
	}
}

// header reads the size and the number of channels (1 or 3) of an encoded picture.
func header(b []byte) (c image.Config, channels int, f format, err error) {
	if f, err = sniff(b); err != nil {
		return c, 0, f, err
	}
	defer guard(f.name, &err)
	if c, err = f.config(b); err != nil {
		return c, 0, f, fmt.Errorf("damaged %s: %w", f.name, err)
	}
	if c.Width <= 0 || c.Height <= 0 {
		return c, 0, f, fmt.Errorf("damaged %s: its header says %d x %d pixels", f.name, c.Width, c.Height)
	}
	if c.Width > data.MaxPixels/c.Height {
		return c, 0, f, fmt.Errorf("%s of %d x %d pixels: at most %d pixels are read", f.name, c.Width, c.Height, data.MaxPixels)
	}
	if n := c.Width * c.Height; f.expansion > 0 && n/f.expansion > len(b)+1024 {
		return c, 0, f, fmt.Errorf("damaged %s: its header says %d x %d pixels, more than %d bytes can hold", f.name, c.Width, c.Height, len(b))
	}
	return c, channelsOf(c), f, nil
}

// Image decodes an encoded picture into m as the given number of channels. A grey picture fills every
// channel; a picture with more channels than asked for is an error. Alpha is dropped.
func Image(b []byte, channels int, m *data.Image) (err error) {
	_, _, f, err := header(b)
	if err != nil {
		return err
	}
	defer guard(f.name, &err)
	src, err := f.decode(b)
	if err != nil {
		return fmt.Errorf("damaged %s: %w", f.name, err)
	}
	return fromStd(src, channels, m)
}

// Channels is the number of channels, 1 or 3, that the header of an encoded picture announces.
func Channels(b []byte) (int, error) {
	_, channels, _, err := header(b)
	return channels, err
}
