// Package jpeg reads baseline and progressive JPEG streams to planes of components, bit for bit as libjpeg does: the
// inverse transform is its exact one of 13-bit constants. What the components mean, and how smaller planes are
// widened, is left to the caller.
package jpeg

import "errors"

// ReadHeader reads what comes before the first scan.
func ReadHeader(b []byte) (Header, error) {
	r := reader{b: b}
	err := r.read(true)
	return r.Header, err
}

// Decode reads all scans of the stream, up to its end marker.
func Decode(b []byte) (Header, error) {
	r := reader{b: b}
	if err := r.read(false); err != nil {
		return Header{}, err
	}
	if r.progressive {
		if err := r.complete(); err != nil {
			return Header{}, err
		}
		r.reconstruct()
	}
	return r.Header, nil
}

// read walks the segments, up to the first scan if only the header is wanted.
func (r *reader) read(headerOnly bool) error {
	r.Adobe = -1
	if len(r.b) < 2 || r.b[0] != 0xff || r.b[1] != markerSOI {
		return errors.New("no start marker")
	}
	r.at = 2
	for {
		marker, err := r.nextMarker()
		if err != nil {
			return err
		}
		switch {
		case marker == markerEOI:
			if r.scans == 0 {
				return errors.New("it holds no picture")
			}
			return nil
		case marker == markerSOI, marker >= 0xd0 && marker <= 0xd7, marker == 0x01: // stray ones, without a length
			continue
		}
		if r.at+2 > len(r.b) {
			return errShort
		}
		n := int(r.b[r.at])<<8 | int(r.b[r.at+1])
		if n < 2 || r.at+n > len(r.b) {
			return errShort
		}
		body := r.b[r.at+2 : r.at+n]
		r.at += n
		switch marker {
		case markerSOF0, markerSOF1, markerSOF2:
			r.progressive = marker == markerSOF2
			err = r.frame(body)
		case 0xc3:
			err = Unsupported("lossless coding")
		case 0xc5, 0xc6, 0xc7, 0xcd, 0xce, 0xcf:
			err = Unsupported("hierarchical coding")
		case 0xc9, 0xca, 0xcb, 0xcc:
			err = Unsupported("arithmetic coding")
		case markerDHT:
			err = r.huffmanTables(body)
		case markerDQT:
			err = r.quantTables(body)
		case markerDRI:
			if len(body) < 2 {
				return errShort
			}
			r.restart = int(body[0])<<8 | int(body[1])
		case markerAPP0:
			r.JFIF = r.JFIF || len(body) >= 5 && string(body[:5]) == "JFIF\x00"
		case markerAPPE:
			if len(body) >= 12 && string(body[:5]) == "Adobe" {
				r.Adobe = int(body[11])
			}
		case markerSOS:
			if headerOnly {
				if r.Components == nil {
					err = errors.New("a scan comes before the frame header")
				}
				return err
			}
			err = r.scan(body)
		}
		if err != nil {
			return err
		}
	}
}
