package source

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"path"

	"github.com/dino-mx/dmx/data"
)

// Fingerprint identifies the list of samples: their number, channels, classes, names and labels, as 16 hexadecimal
// digits. A checkpoint keeps it, so that a run is not resumed on other data unnoticed. The folder in which the data
// lie is no part of it, so a data set may move.
func Fingerprint(src data.Source) string {
	h := sha256.New()
	var buf []byte
	put := func(s string) {
		buf = binary.LittleEndian.AppendUint32(buf[:0], uint32(len(s)))
		buf = append(buf, s...)
		h.Write(buf)
	}
	number := func(v int) {
		buf = binary.LittleEndian.AppendUint64(buf[:0], uint64(v))
		h.Write(buf)
	}
	number(src.Len())
	number(src.Channels())
	for _, c := range src.Classes() {
		put(c)
	}
	for i := range src.Len() {
		label, ok := src.Label(i)
		if !ok {
			label = -1
		}
		put(path.Base(src.ID(i)))
		number(label)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
