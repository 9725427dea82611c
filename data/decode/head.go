package decode

// head is what the header of a file announces.
type head struct {
	width, height int
	channels      int // 1 for a grey picture, else 3
	// clipped says that a grey picture of 16 bits becomes RGB as in Pillow: samples above 255 become 255.
	clipped bool
}

// unsupported is a property of a valid file that is not read.
type unsupported string

func (u unsupported) Error() string { return string(u) }
