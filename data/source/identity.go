package source

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
)

// Identity tells a data set from others, so that work on one is not continued on another unnoticed.
type Identity struct {
	Root    string `json:"root"`    // path, with links resolved
	Images  int    `json:"images"`  // number of samples
	Samples string `json:"samples"` // digest of channels, classes, relative names and labels
	Files   string `json:"files"`   // digest of sizes, modification times and, where that is cheap, contents
}

// Identity looks at the files again and returns what they are now.
func (d *Dataset) Identity() (Identity, error) {
	h := sha256.New()
	number(h, int64(d.Len()))
	number(h, int64(d.Channels()))
	for _, c := range d.Classes() {
		text(h, c)
	}
	for i := range d.Len() {
		label, ok := d.Label(i)
		if !ok {
			label = -1
		}
		text(h, strings.TrimPrefix(d.ID(i), d.where))
		number(h, int64(label))
	}
	id := Identity{Root: printable(d.root), Images: d.Len(), Samples: digest(h)}
	h.Reset()
	if err := d.stamp(h); err != nil {
		return id, fmt.Errorf("identify data: %w", err)
	}
	id.Files = digest(h)
	return id, nil
}

// Changes says in what way the data are others than those of an earlier identity, "" if they are the same.
func (id Identity) Changes(earlier Identity) string {
	switch {
	case id.Images != earlier.Images:
		return fmt.Sprintf("%d images where there were %d", id.Images, earlier.Images)
	case id.Samples != earlier.Samples:
		return "other names, labels or classes"
	case id.Files != earlier.Files:
		return "files replaced: sizes, times or contents differ"
	case id.Root != earlier.Root:
		return "another place: " + earlier.Root + " before"
	}
	return ""
}

func digest(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil))[:32] }

func number(h hash.Hash, v int64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(v))
	h.Write(b[:])
}

func text(h hash.Hash, s string) {
	number(h, int64(len(s)))
	io.WriteString(h, s)
}

// cheap is how many bytes of contents are read to identify data.
const cheap = 64 << 20

// stampFiles writes sizes and modification times of files, and their contents if they are small altogether.
func stampFiles(names []string) func(h hash.Hash) error {
	return func(h hash.Hash) error {
		total := int64(0)
		for _, name := range names {
			info, err := os.Stat(name)
			if os.IsNotExist(err) {
				number(h, -1)
				continue
			}
			if err != nil {
				return err
			}
			number(h, info.Size())
			number(h, info.ModTime().UnixNano())
			total += info.Size()
		}
		if total > cheap {
			return nil
		}
		for _, name := range names {
			if err := stampContent(h, name); err != nil {
				return err
			}
		}
		return nil
	}
}

func stampContent(h hash.Hash, name string) error {
	file, err := os.Open(name)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(h, file)
	return err
}
