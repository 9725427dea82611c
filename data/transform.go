package data

// Key names the random draws of one sample in one epoch. With the view's index it is the key of the stream
// tensor.NewRand(Seed, Epoch, Sample, view), so that a view can be made again on any worker or rank.
type Key struct {
	Seed   uint64
	Epoch  uint32
	Sample uint32
}

// Transform makes the views of one sample. Apply is safe for concurrent use and a pure function of its arguments.
type Transform interface {
	// Views returns the kinds of views that Apply makes. The caller must not change it.
	Views() []ViewSpec
	// Channels is the number of channels of every view.
	Channels() int
	// Apply writes view v of s to out[v], normalised, channel-major: Channels()*Height*Width elements. Views are
	// numbered through the list of kinds: all of the first kind, then all of the second, and so on.
	Apply(s *Sample, key Key, out [][]float32) error
}
