package source

// Options say how a path is read.
type Options struct {
	// Split is train (also the meaning of an empty one), val, test, auto (test if there is one, else val), or any other
	// name that a folder or an array has. A path without splits has only its training split, which is all of it. A folder
	// of exactly this name is a split, whatever else it may look like.
	Split string
	// Layout says what the folders stand for; an empty one is Auto.
	Layout Layout
	// Channels is the number of channels that the samples shall have. 3 turns every picture into red, green and blue, as
	// Pillow's convert("RGB") does: grey and palettes are spread, alpha is dropped; 1 turns colours into their luma. With
	// 0 pictures have 3 channels if any of a few evenly spaced ones is in colour, else 1. Arrays of more than 4 channels
	// keep theirs.
	Channels int
}

// Format is one way in which files hold a data set.
type Format interface {
	// Name returns the words for the format in messages.
	Name() string
	// Match tells whether the format reads the path.
	Match(p *Path) (bool, error)
	// Open lists the samples of a split.
	Open(p *Path, o Options) (*Dataset, error)
}
