package data

// View is the size in pixels of one view of a sample.
type View struct {
	Height, Width int
}

// Key names the random draws of one sample in one epoch. With the view's index it is the key of the stream
// tensor.NewRand(Seed, Epoch, Sample, view), so that a view can be made again on any worker or rank.
type Key struct {
	Seed   uint64
	Epoch  uint32
	Sample uint32
}

// Transform cuts the views of one sample. Apply is safe for concurrent use and a pure function of its arguments.
type Transform interface {
	// Views is the size of every view, in the order of out. The caller must not change it.
	Views() []View
	// Channels is the number of channels of every view.
	Channels() int
	// Apply writes view v of m to out[v], normalised, channel-major: Channels()*Height*Width elements.
	Apply(m *Image, key Key, out [][]float32) error
}
