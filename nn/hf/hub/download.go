package hub

import (
	"cmp"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// fetch downloads a file's content to blob. The caller holds the lock, so that no other process writes it. A part that
// an earlier run has left is continued. blob appears only when size and hash are right.
func (c *Client) fetch(ctx context.Context, r Ref, name string, m metadata, blob string) error {
	part := blob + ".dmx-part"
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	d := &download{client: c, ref: r, name: name, meta: m, file: f}
	resumed, err := d.begin()
	if err != nil {
		return err
	}
	err = d.run(ctx)
	if errors.Is(err, ErrCorrupt) && resumed {
		// The old part may be what is wrong: once more from the start.
		if err = d.restart(); err == nil {
			err = d.run(ctx)
		}
	}
	if err != nil {
		if errors.Is(err, ErrCorrupt) {
			f.Close()
			os.Remove(part)
		}
		return fmt.Errorf("%s: %s: %w", r, name, err)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(part, blob)
}

type download struct {
	client *Client
	ref    Ref
	name   string
	meta   metadata
	file   *os.File
	sum    hash.Hash
	have   int64
}

// begin hashes the part that an earlier run has left.
func (d *download) begin() (resumed bool, err error) {
	st, err := d.file.Stat()
	if err != nil {
		return false, err
	}
	if st.Size() > d.meta.size {
		return false, d.restart()
	}
	d.sum = newHash(d.meta)
	if d.have, err = io.Copy(d.sum, d.file); err != nil {
		return false, err
	}
	return d.have > 0, nil
}

func (d *download) restart() error {
	d.sum, d.have = newHash(d.meta), 0
	if err := d.file.Truncate(0); err != nil {
		return err
	}
	_, err := d.file.Seek(0, io.SeekStart)
	return err
}

// newHash returns the hash function that the length of an etag implies: SHA-256 of the content, or git's blob hash.
func newHash(m metadata) hash.Hash {
	if len(m.etag) == 64 {
		return sha256.New()
	}
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", m.size)
	return h
}

// run downloads until the size is reached, starting again after failures as long as attempts make progress.
func (d *download) run(ctx context.Context) error {
	failures := 0
	for d.have < d.meta.size {
		before := d.have
		err := d.attempt(ctx)
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var final *finalError
		if errors.As(err, &final) {
			return final.err
		}
		if d.have > before {
			failures = 0
		}
		if failures++; failures >= maxAttempts {
			return fmt.Errorf("%w after %d attempts: %w", ErrUnavailable, failures, err)
		}
		if err := d.client.pause(ctx, failures, err); err != nil {
			return err
		}
	}
	if got := hex.EncodeToString(d.sum.Sum(nil)); got != d.meta.etag {
		return fmt.Errorf("%w: expected %s, got %s; the partial download was removed", ErrCorrupt, d.meta.etag, got)
	}
	return nil
}

// finalError is an error that another attempt cannot avoid.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }

func (d *download) attempt(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := d.client.idleTimeout()
	idle := time.AfterFunc(limit, func() { cancel(fmt.Errorf("no data for %s", limit)) })
	defer idle.Stop()
	res, err := d.client.get(ctx, d.ref, d.name, d.have)
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusPartialContent:
		if want := fmt.Sprintf("bytes %d-", d.have); !strings.HasPrefix(res.Header.Get("Content-Range"), want) {
			return &finalError{fmt.Errorf("asked for bytes from %d on, got %q", d.have, res.Header.Get("Content-Range"))}
		}
	case res.StatusCode == http.StatusOK:
		// The server ignores ranges: what it sends is the whole file.
		if d.have > 0 {
			if err := d.restart(); err != nil {
				return &finalError{err}
			}
		}
	case res.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return d.restart()
	case transient(res.StatusCode):
		return &retryLater{status: res.StatusCode, after: retryAfter(res)}
	default:
		return &finalError{d.client.statusError(d.ref, d.name, res)}
	}
	buf := make([]byte, 1<<18)
	for {
		n, err := res.Body.Read(buf)
		idle.Reset(limit)
		if int64(n) > d.meta.size-d.have {
			return &finalError{fmt.Errorf("%w: more than the announced %d bytes", ErrCorrupt, d.meta.size)}
		}
		if n > 0 {
			if _, err := d.file.Write(buf[:n]); err != nil {
				return &finalError{err}
			}
			d.sum.Write(buf[:n])
			d.have += int64(n)
			if d.client.Progress != nil {
				d.client.Progress(d.name, d.have, d.meta.size)
			}
		}
		if d.have == d.meta.size {
			return nil
		}
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return cmp.Or(context.Cause(ctx), plain(err))
		}
	}
}

func (c *Client) idleTimeout() time.Duration {
	if c.IdleTimeout > 0 {
		return c.IdleTimeout
	}
	return 10 * time.Second
}
