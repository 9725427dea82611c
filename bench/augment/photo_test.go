package main

import (
	"bytes"
	"image/jpeg"
	"testing"
)

// The picture is as large, and as hard to decode, as a photograph of its size.
func TestPhoto(t *testing.T) {
	b := photo()
	c, err := jpeg.DecodeConfig(bytes.NewReader(b))
	if err != nil || c.Width != 500 || c.Height != 375 {
		t.Fatalf("%+v, %v", c, err)
	}
	if kib := len(b) >> 10; kib < 40 || kib > 120 {
		t.Errorf("%d KiB", kib)
	}
}
