package loader

import (
	"fmt"
	"strings"
)

// Unreadable is a sample that could not be decoded.
type Unreadable struct {
	Index int
	ID    string
	Err   error
}

// UnreadableError is the error of Loader.Next when more samples cannot be decoded than the loader allows.
type UnreadableError struct {
	Samples  []Unreadable // by index
	Of       int          // samples of the source
	MaxShare float64      // the largest share of them that may be unreadable
}

// Error gives the numbers and the first ten samples.
func (e *UnreadableError) Error() string {
	const listed = 10
	var text strings.Builder
	fmt.Fprintf(&text, "%d of %d images cannot be read, more than the allowed share of %g:", len(e.Samples), e.Of,
		e.MaxShare)
	for i, u := range e.Samples {
		if i == listed {
			fmt.Fprintf(&text, "\n  and %d more", len(e.Samples)-listed)
			break
		}
		fmt.Fprintf(&text, "\n  %v", u.Err)
	}
	return text.String()
}
