package source

import (
	"fmt"
	"io"
)

// readAt reads exactly n bytes from off into buf, growing it if it is too small.
func readAt(r io.ReaderAt, off int64, n int, buf []byte) ([]byte, error) {
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	got, err := r.ReadAt(buf, off)
	if got < n {
		return nil, fmt.Errorf("truncated: %d bytes where %d were expected: %w", got, n, noEOF(err))
	}
	return buf, nil
}

// noEOF is io.ErrUnexpectedEOF for an end of file in the middle of something.
func noEOF(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// deflateLimit is the largest factor by which deflate can shrink.
const deflateLimit = 1032

// readExactly reads n bytes of a compressed stream whose compressed size is known. It refuses an n that the stream
// cannot hold before it allocates, so that a hostile header costs nothing.
func readExactly(r io.Reader, n, compressed int64) ([]byte, error) {
	if n < 0 || n/deflateLimit > compressed+64 {
		return nil, fmt.Errorf("damaged: its header claims %d bytes, more than %d compressed bytes can hold", n, compressed)
	}
	buf := make([]byte, n)
	got, err := io.ReadFull(r, buf)
	if err != nil {
		return nil, fmt.Errorf("truncated: %d bytes where %d were expected: %w", got, n, noEOF(err))
	}
	return buf, nil
}
