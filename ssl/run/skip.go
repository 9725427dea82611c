package run

import (
	"fmt"

	"github.com/dino-mx/dmx/data/loader"
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
		s.skipped.Add(skipped.Image{ID: u.ID, Reason: u.Err.Error()})
	}
	warnings, err := s.skipped.News()
	for _, w := range warnings {
		s.say("WARNING", w)
	}
	if err != nil {
		return fmt.Errorf("skipped images: %w", err)
	}
	return nil
}
