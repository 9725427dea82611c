package run

import (
	"fmt"
	"path/filepath"

	"github.com/dino-mx/dmx/data/loader"
	"github.com/dino-mx/dmx/data/source"
	"github.com/dino-mx/dmx/ssl/skipped"
)

// openSkipped opens the run's list of images that could not be read.
func (s *session) openSkipped() (err error) {
	if s.skipped, err = skipped.Open(s.folder.skipped()); err != nil {
		return fmt.Errorf("skipped images: %w", err)
	}
	return nil
}

// skip adds images that could not be read to the run's list, and warns of those that are new.
func (s *session) skip(images []loader.Unreadable) error {
	for _, u := range images {
		s.skipped.Add(skipped.Image{ID: u.ID, Stage: skipped.Decoding, Reason: u.Err.Error()})
	}
	return s.tellSkipped()
}

// leaveOut adds the files that the sources leave out when they list them.
func (s *session) leaveOut() error {
	for _, m := range LeftOut(s.c.Dataset.Path, s.pictures.train, s.pictures.eval) {
		s.skipped.Add(m)
	}
	return s.tellSkipped()
}

// LeftOut returns the files below path that the sources do not list as images.
func LeftOut(path string, sources ...*source.Dataset) (list []skipped.Image) {
	for _, src := range sources {
		if src == nil {
			continue
		}
		for _, f := range src.Skipped {
			list = append(list, skipped.Image{ID: filepath.Join(path, f.Path), Stage: skipped.Listing, Reason: f.Reason})
		}
	}
	return list
}

// tellSkipped warns of what is new in the list.
func (s *session) tellSkipped() error {
	warnings, err := s.skipped.News()
	for _, w := range warnings {
		s.say("WARNING", w)
	}
	if err != nil {
		return fmt.Errorf("skipped images: %w", err)
	}
	return nil
}
