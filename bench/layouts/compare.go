package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/dino-mx/dmx/bench/peer"
	"github.com/dino-mx/dmx/data/source"
)

// samples maps the path of each picture below a folder to its class, "" for none.
type samples map[string]string

// folder is ImageFolder's reading of a folder.
type folder struct {
	samples samples
	refused string // why it does not read the folder
	deep    int    // samples below links that lead back up
}

func askFolder(p *peer.Process, root string) (*folder, error) {
	line, err := p.Ask("%s", hex.EncodeToString([]byte(root)))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Error   string
		Classes []string
		Samples [][2]any
		Deep    int
	}
	if err := json.Unmarshal([]byte(line), &answer); err != nil {
		return nil, err
	}
	f := &folder{samples: samples{}, refused: answer.Error, deep: answer.Deep}
	for _, s := range answer.Samples {
		name, err := hex.DecodeString(s[0].(string))
		if err != nil {
			return nil, err
		}
		class, err := hex.DecodeString(answer.Classes[int(s[1].(float64))])
		if err != nil {
			return nil, err
		}
		f.samples[readable(string(name))] = readable(norm.NFC.String(string(class)))
	}
	return f, nil
}

// readable writes a name as dmx shows it: bytes that are no UTF-8 and control characters as \xNN.
func readable(s string) string {
	var b strings.Builder
	for i, r := range s {
		if r == '\uFFFD' && s[i] != 0xef || r < ' ' || r == 0x7f {
			fmt.Fprintf(&b, `\x%02x`, s[i])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// ours is the reading of a data set, relative to a folder.
func ours(d *source.Dataset, below string) samples {
	found := samples{}
	for i := range d.Len() {
		class := ""
		if label, ok := d.Label(i); ok {
			class = d.Classes()[label]
		}
		found[strings.TrimPrefix(d.ID(i), readable(below)+"/")] = class
	}
	return found
}

// The verdicts.
const (
	same    = "the same images and classes"
	named   = "the same but for what dmx leaves out and counts by reason, and for .gif files, which ImageFolder does not read"
	asked   = "an error that names both readings; the layout said, the same as above"
	alone   = "ImageFolder refuses the folder; dmx reads it"
	differs = "DIFFERENT"
)

// judge compares the two readings of a layout.
func judge(p *peer.Process, root string, s shape) (string, error) {
	at := filepath.Join(root, s.split)
	theirs, err := askFolder(p, at)
	if err != nil {
		return "", err
	}
	d, err := source.Open(root, source.Options{})
	var ambiguous *source.Ambiguous
	if err == nil {
		if s.split == "" && d.Split != "" && strings.Contains(d.Note, "layout classes reads") {
			// It reads splits, and says that they may be classes.
			classes, err := source.Open(root, source.Options{Layout: source.Classes})
			if err != nil {
				return "", err
			}
			return within(compare(classes, theirs, at)), nil
		}
		return compare(d, theirs, at), nil
	}
	if strings.Contains(err.Error(), "are both named") {
	}
	if !errors.As(err, &ambiguous) || len(ambiguous.Readings) < 2 {
		return differs + ": " + err.Error(), nil
	}
	verdict := ""
	for _, r := range ambiguous.Readings {
		path, split := root, ""
		if s.split != "" && r.Layout != source.Splits {
			path = at // the path that a user of ImageFolder names
		}
		d, err := source.Open(path, source.Options{Layout: r.Layout, Split: split})
		if err != nil {
			verdict = err.Error()
			continue
		}
		if verdict = compare(d, theirs, at); !strings.HasPrefix(verdict, differs) {
			return within(verdict), nil
		}
	}
	return differs + ": no reading is ImageFolder's: " + verdict, nil
}

// within is the verdict on a layout that is read as ImageFolder does once the layout is said.
func within(verdict string) string {
	if strings.HasPrefix(verdict, differs) {
		return verdict
	}
	return asked
}

func compare(d *source.Dataset, theirs *folder, at string) string {
	if theirs.refused != "" {
		return alone
	}
	mine, left := ours(d, at), map[string]bool{}
	for _, s := range d.Skipped {
		left[s.Path] = true
	}
	verdict := same
	for name, class := range theirs.samples {
		switch got, ok := mine[name]; {
		case ok && got != class:
			return fmt.Sprintf("%s: %s is of class %q, ImageFolder says %q", differs, name, got, class)
		case !ok && !skipped(left, name):
			return fmt.Sprintf("%s: %s is left out without a word", differs, name)
		case !ok:
			verdict = named
		}
	}
	if theirs.deep > 0 {
		verdict = named
	}
	for name := range mine {
		if _, ok := theirs.samples[name]; ok {
			continue
		}
		if !strings.EqualFold(filepath.Ext(name), ".gif") {
			return fmt.Sprintf("%s: ImageFolder does not have %s", differs, name)
		}
		verdict = named
	}
	return verdict
}

// skipped tells whether a picture, or a folder above it, is among those left out, whose paths may begin further up.
func skipped(left map[string]bool, name string) bool {
	parts := strings.Split(name, "/")
	for n := range parts {
		tail := strings.Join(parts[:n+1], "/")
		for path := range left {
			if path == tail || strings.HasSuffix(path, "/"+tail) && !slices.Contains(parts, "..") {
				return true
			}
		}
	}
	return false
}
