package data

import "fmt"

// Role is what a kind of view is for.
type Role uint8

// The roles of views.
const (
	Global Role = iota // a large part of the image
	Local              // a small part of the image
	Guided             // a small part of the image around a labelled place
	Anchor             // a global view at another size, for a teacher of its own
)

// String returns the word for the role.
func (r Role) String() string {
	switch r {
	case Global:
		return "global"
	case Local:
		return "local"
	case Guided:
		return "guided"
	case Anchor:
		return "anchor"
	}
	return fmt.Sprintf("Role(%d)", uint8(r))
}

// ViewSpec is a kind of view: Count views of an image, all with the same role and size. A recipe's list of them is
// made once from its configuration; the augmentation, the loader, its batches and the trainer follow its order.
type ViewSpec struct {
	Name          string // unique in a list, for messages
	Role          Role
	Count         int // views of this kind of every image
	Height, Width int // in pixels
}

// Views returns the number of views of a list.
func Views(specs []ViewSpec) int {
	n := 0
	for _, s := range specs {
		n += s.Count
	}
	return n
}
