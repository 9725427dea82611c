package data

// Source is a list of samples. Every method is safe for concurrent use.
type Source interface {
	// Len is the number of samples.
	Len() int
	// Decode reads sample i into s, reusing its memory. The image has Channels() channels; sizes may differ from sample
	// to sample. The error names the file and, where there is one, the member inside it.
	Decode(i int, s *Sample) error
	// Label is the class of sample i, an index into Classes, and whether the sample has one.
	Label(i int) (int, bool)
	// ID names sample i for messages: a path, or an archive and the place inside it.
	ID(i int) string
	// Classes is the names of the classes in label order; empty without labels. The caller must not change it.
	Classes() []string
	// Channels is the number of channels of every sample.
	Channels() int
}
