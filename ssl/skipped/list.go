// Package skipped keeps the list of images that a run or a job leaves out: each with the reason, in a file, and the
// first ten as warnings. It must not know why an image is left out.
package skipped

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/dino-mx/dmx/ssl/durable"
)

// Image is an image that was left out.
type Image struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// shown is how many images are named in warnings.
const shown = 10

// List is the images that were left out, in the file at Path with the columns id and reason. The zero value is an empty
// list without a file.
type List struct {
	Path   string
	images []Image
	known  map[string]bool
	warned int // images that warnings have named or counted
}

// Open reads the list at path. A list that is not there is empty. Warnings do not name the images that it holds.
func Open(path string) (*List, error) {
	l := &List{Path: path}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w; delete the file to have it made again", path, err)
	}
	for _, r := range records[min(1, len(records)):] {
		if len(r) == 2 {
			l.Add(Image{r[0], r[1]})
		}
	}
	l.warned = len(l.images)
	return l, nil
}

// Add appends an image unless the list has it. A reason that begins with the ID loses it.
func (l *List) Add(m Image) {
	m.ID, m.Reason = Text(m.ID), Text(strings.TrimPrefix(m.Reason, m.ID+": "))
	if l.known == nil {
		l.known = map[string]bool{}
	}
	if !l.known[m.ID] {
		l.known[m.ID] = true
		l.images = append(l.images, m)
	}
}

// Len returns the number of images.
func (l *List) Len() int { return len(l.images) }

// Images returns the images in the order in which they were added. The caller must not change them.
func (l *List) Images() []Image { return l.images }

// News writes the file if images were added since the last call, and returns warnings about them: the first ten
// images of the list are named, of the others the number is given.
func (l *List) News() (warnings []string, err error) {
	if l.warned == len(l.images) {
		return nil, nil
	}
	if err := l.write(); err != nil {
		return nil, err
	}
	for ; l.warned < min(shown, len(l.images)); l.warned++ {
		m := l.images[l.warned]
		warnings = append(warnings, "skipped "+m.ID+": "+m.Reason)
	}
	if l.warned < len(l.images) {
		more := fmt.Sprintf("skipped %d more, %d in all", len(l.images)-l.warned, len(l.images))
		if l.Path != "" {
			more += "; " + l.Path + " lists them"
		}
		warnings = append(warnings, more)
		l.warned = len(l.images)
	}
	return warnings, nil
}

func (l *List) write() error {
	if l.Path == "" {
		return nil
	}
	return durable.Write(l.Path, func(out io.Writer) error {
		w := csv.NewWriter(out)
		err := w.Write([]string{"id", "reason"})
		for _, m := range l.images {
			err = errors.Join(err, w.Write([]string{m.ID, m.Reason}))
		}
		w.Flush()
		return errors.Join(err, w.Error())
	})
}

// Text returns s with every byte that is not UTF-8 written as \x and two hexadecimal digits, so that readers of a file
// get text and two names stay two.
func Text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02x`, s[0])
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}
