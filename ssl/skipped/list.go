// Package skipped keeps the list of files and images that a run or a job leaves out: each with the reason, in a file,
// and the first ten as messages. It must not know why one is left out.
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

// Stage says when something was left out.
type Stage string

// Stages.
const (
	Listing  Stage = "listing"  // when the files of the data were listed
	Decoding Stage = "decoding" // when an image was to be decoded
)

// Image is a file or an image that was left out.
type Image struct {
	ID     string `json:"id"`
	Stage  Stage  `json:"stage"`
	Reason string `json:"reason"`
}

// shown is how many images of a stage are named in messages.
const shown = 10

// List is what was left out, in the file at Path with the columns id, stage and reason. The zero value is an empty list
// without a file.
type List struct {
	Path   string
	images []Image
	known  map[string]bool
	news   []Image       // added since the last News
	named  map[Stage]int // images that messages have named
}

// Open reads the list at path. A list that is not there is empty. News does not name the images that it holds.
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
		if len(r) == 3 {
			l.Add(Image{r[0], Stage(r[1]), r[2]})
		}
	}
	for _, m := range l.news {
		l.named[m.Stage]++
	}
	l.news = nil
	return l, nil
}

// Add appends an image unless the list has it. A reason that begins with the ID loses it.
func (l *List) Add(m Image) {
	m.ID, m.Reason = Text(m.ID), Text(strings.TrimPrefix(m.Reason, m.ID+": "))
	if l.known == nil {
		l.known, l.named = map[string]bool{}, map[Stage]int{}
	}
	if !l.known[m.ID] {
		l.known[m.ID] = true
		l.images, l.news = append(l.images, m), append(l.news, m)
	}
}

// Len returns the number of images of a stage.
func (l *List) Len(s Stage) int {
	n := 0
	for _, m := range l.images {
		if m.Stage == s {
			n++
		}
	}
	return n
}

// Images returns the images in the order in which they were added. The caller must not change them.
func (l *List) Images() []Image { return l.images }

// News writes the file if images were added since the last call, and returns messages about them: the first ten images
// of a stage are named, of the others the number is given.
func (l *List) News() (messages []string, err error) {
	if len(l.news) == 0 {
		return nil, nil
	}
	if err := l.write(); err != nil {
		return nil, err
	}
	more := 0
	for _, m := range l.news {
		if l.named[m.Stage]++; l.named[m.Stage] <= shown {
			messages = append(messages, "skipped "+m.ID+": "+m.Reason)
		} else {
			more++
		}
	}
	l.news = nil
	if more > 0 {
		text := fmt.Sprintf("skipped %d more, %d in all", more, len(l.images))
		if l.Path != "" {
			text += "; " + l.Path + " lists them"
		}
		messages = append(messages, text)
	}
	return messages, nil
}

func (l *List) write() error {
	if l.Path == "" {
		return nil
	}
	return durable.Write(l.Path, func(out io.Writer) error {
		w := csv.NewWriter(out)
		err := w.Write([]string{"id", "stage", "reason"})
		for _, m := range l.images {
			err = errors.Join(err, w.Write([]string{m.ID, string(m.Stage), m.Reason}))
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
