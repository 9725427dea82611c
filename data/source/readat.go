package source

import (
	"errors"
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

// readAll reads a compressed stream of n bytes whose compressed size is known, to its end, so that its checksum is
// compared. It refuses an n that the stream cannot hold before it allocates, so that a hostile header costs nothing.
func readAll(r io.Reader, n, compressed int64) ([]byte, error) {
	if n < 0 || n/deflateLimit > compressed+64 {
		return nil, fmt.Errorf("damaged: its header claims %d bytes, more than %d compressed bytes can hold", n, compressed)
	}
	buf := make([]byte, n)
	got, err := io.ReadFull(r, buf)
	if err != nil {
		return nil, fmt.Errorf("truncated: %d bytes where %d were expected: %w", got, n, noEOF(err))
	}
	return buf, atEnd(r)
}

// atEnd is an error unless r has been read to its end and what was read agrees with its checksum.
func atEnd(r io.Reader) error {
	var more [1]byte
	switch n, err := io.ReadFull(r, more[:]); {
	case n > 0:
		return errors.New("damaged: there is more in it than its header says")
	case err != io.EOF:
		return fmt.Errorf("damaged: %w", err)
	}
	return nil
}
