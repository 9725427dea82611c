package safetensors

import (
	"bytes"
	"fmt"
)

// Recognise names a file that people take for a weight file, by its first bytes, and says what to do about it. head
// should hold the first RecogniseBytes of the file, or all of a shorter one. It returns "" for a file that it does not
// know.
func Recognise(head []byte) string {
	text := bytes.ToLower(bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n"))
	begins := func(list ...string) bool {
		for _, s := range list {
			if bytes.HasPrefix(text, []byte(s)) {
				return true
			}
		}
		return false
	}
	switch {
	case len(head) == 0:
		return "an empty file; download or save it again"
	case begins("version https://git-lfs.github.com/"):
		return fmt.Sprintf("a Git LFS pointer%s, not the weights; run git lfs pull in the repository, or download the file itself", pointerSize(head))
	case begins("<!doctype html", "<html", "<head", "<?xml"):
		return "a web page, not weights: the server answered with a page, such as a login or an error; download the file again"
	case begins(`{"error`, `{"message`, `{"detail`):
		return "a server's error message, not weights; download the file again"
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return "compressed with gzip; unpack it with gunzip"
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		return "compressed with zstd; unpack it with unzstd"
	case bytes.HasPrefix(head, []byte("\x89HDF\r\n")):
		return "an HDF5 file, as Keras writes; save the model as safetensors or as a PyTorch state dict"
	case bytes.HasPrefix(head, []byte("\x93NUMPY")):
		return "a NumPy array; save the model as safetensors or as a PyTorch state dict"
	case bytes.HasPrefix(head, []byte("GGUF")):
		return "a GGUF file; download the safetensors file of the model"
	}
	return ""
}

// RecogniseBytes is how much of a file Recognise looks at.
const RecogniseBytes = 256

// pointerSize is the size that a Git LFS pointer gives for the real file, for messages.
func pointerSize(head []byte) string {
	for line := range bytes.Lines(head) {
		if n, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("size ")); ok {
			return fmt.Sprintf(" (to a file of %s bytes)", n)
		}
	}
	return ""
}
