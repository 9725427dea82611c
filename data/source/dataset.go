package source

import (
	"fmt"
	"hash"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/data"
)

// samples is what a format lists.
type samples interface {
	data.Source
	// want sets the number of channels as Options.Channels describes it.
	want(channels int) error
	// stored is the number of channels that the files have, as far as is known.
	stored() int
}

// Dataset is the samples of a split of a path, with how the path was read.
type Dataset struct {
	samples
	Format  string   // the format's name
	Splits  []string // of the path; nil if it has none
	Split   string   // the one that was opened, as the path names it; "" if it has none
	Note    string   // on another reading or on what the labels are, "" for none
	Skipped []Skipped

	root  string
	where string // what the samples' names begin with
	// stamp writes what tells the files from others of the same names: sizes, times, contents.
	stamp func(h hash.Hash) error
}

// SetChannels changes the number of channels as Options.Channels does.
func (d *Dataset) SetChannels(channels int) error {
	return d.want(channels)
}

// Reading says in one line how the path was read: "3 classes, 9 images, splits: none".
func (d *Dataset) Reading() string {
	classes := "no classes"
	if n := len(d.Classes()); n > 0 {
		classes = count(n, "class")
	}
	splits := "none"
	if d.Splits != nil {
		names := make([]string, len(d.Splits))
		for i, s := range slices.Sorted(slices.Values(d.Splits)) {
			names[i] = printable(s)
		}
		splits = strings.Join(names, ", ")
	}
	text := fmt.Sprintf("%s, %s, splits: %s", classes, count(d.Len(), "image"), splits)
	if d.Split != "" {
		text = fmt.Sprintf("%s, %s of split %s, splits: %s", classes, count(d.Len(), "image"), printable(d.Split), splits)
	}
	if left := Summary(d.Skipped); left != "" {
		text += "; left out: " + left
	}
	if d.Note != "" {
		text += "; " + d.Note
	}
	if d.Channels() == 1 && d.stored() > 2 {
		text += "; colours are read as grey"
	}
	return text
}
