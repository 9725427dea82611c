// Package safetensors reads and writes the safetensors container: named arrays behind a JSON header, one file or
// several shards with an index. The reader trusts nothing: every size, offset, name and type of the header is
// checked before a byte of data is touched, and every error names the file and the tensor. The writer is
// deterministic, byte for byte the layout of the reference implementation, and replaces a file atomically.
//
// It must not know what a model is: names are strings here.
package safetensors
