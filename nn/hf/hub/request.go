package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	maxRedirects = 8
	maxAttempts  = 5
	maxPause     = 60 * time.Second
)

// metadata is the answer to a HEAD request for a file.
type metadata struct {
	commit string
	etag   string // SHA-256 (64 digits) or git blob SHA-1 (40 digits)
	size   int64
}

var contentHash = regexp.MustCompile(`^([0-9a-f]{64}|[0-9a-f]{40})$`)

// fileURL is the address of a file: nothing of the revision and only the slashes of the name stay unescaped.
func (c *Client) fileURL(r Ref, name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return fmt.Sprintf("%s/%s/resolve/%s/%s", c.Endpoint, r.Repo, url.PathEscape(r.Revision), strings.Join(parts, "/"))
}

func (c *Client) client() *http.Client {
	c.once.Do(func() {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.ResponseHeaderTimeout = max(c.IdleTimeout, 10*time.Second)
		// Redirects are followed by hand: the library would send the token on to sub-domains of the hub.
		c.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	})
	return c.http
}

// send makes one request. The token is sent only to the hub's own scheme, host and port.
func (c *Client) send(ctx context.Context, method, address string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, errors.New("the address of the file cannot be read")
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", "dmx/1; go")
	// Compressed transfer would hide the length and break ranges.
	req.Header.Set("Accept-Encoding", "identity")
	if hub, err := url.Parse(c.Endpoint); err == nil && c.Token != "" && req.URL.Host == hub.Host && req.URL.Scheme == hub.Scheme {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	res, err := c.client().Do(req)
	if err != nil {
		return nil, plain(err)
	}
	return res, nil
}

// plain removes the URL, which may hold a signature, from an error of net/http.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func redirect(status int) bool {
	switch status {
	case 301, 302, 303, 307, 308:
		return true
	}
	return false
}

// head asks for a file's commit, hash and size. Relative redirects (renamed repositories) are followed; an absolute
// one leads to the content and is not needed here.
func (c *Client) head(ctx context.Context, r Ref, name string) (metadata, error) {
	var m metadata
	address := c.fileURL(r, name)
	for range maxRedirects {
		res, err := c.headOnce(ctx, address)
		if err != nil {
			return m, fmt.Errorf("%s: %s: %w: %w", r, name, ErrUnavailable, err)
		}
		location := res.Header.Get("Location")
		if redirect(res.StatusCode) && strings.HasPrefix(location, "/") && !strings.HasPrefix(location, "//") {
			next, err := res.Request.URL.Parse(location)
			if err != nil {
				return m, fmt.Errorf("%s: %s: the hub redirects to an address that cannot be read", r, name)
			}
			address = next.String()
			continue
		}
		m.commit = res.Header.Get("X-Repo-Commit")
		if res.StatusCode >= 400 {
			return m, c.statusError(r, name, res)
		}
		etag := res.Header.Get("X-Linked-Etag")
		if etag == "" {
			etag = res.Header.Get("ETag")
		}
		m.etag = strings.Trim(strings.TrimPrefix(etag, "W/"), `"`)
		size := res.Header.Get("X-Linked-Size")
		if size == "" && !redirect(res.StatusCode) {
			size = res.Header.Get("Content-Length")
		}
		switch m.size, err = strconv.ParseInt(size, 10, 64); {
		case !commitHash.MatchString(m.commit):
			return m, fmt.Errorf("%s: %s: the answer has no commit (X-Repo-Commit is %q); is HF_ENDPOINT a Hugging Face hub?", r, name, m.commit)
		case !contentHash.MatchString(m.etag):
			return m, fmt.Errorf("%s: %s: the ETag %q is neither a SHA-256 nor a git hash, so the content could not be verified", r, name, m.etag)
		case err != nil || m.size < 0:
			return m, fmt.Errorf("%s: %s: the answer has no size (%q)", r, name, size)
		}
		return m, nil
	}
	return m, fmt.Errorf("%s: %s: more than %d redirects", r, name, maxRedirects)
}

// headOnce makes one HEAD request. It retries after 429 and 5xx responses and broken connections.
func (c *Client) headOnce(ctx context.Context, address string) (*http.Response, error) {
	var last error
	for attempt := range maxAttempts {
		if attempt > 0 {
			if err := c.pause(ctx, attempt, last); err != nil {
				return nil, err
			}
		}
		ctx, cancel := context.WithTimeout(ctx, c.metaTimeout())
		res, err := c.send(ctx, http.MethodHead, address, nil)
		cancel()
		if err != nil {
			if refused(err) {
				return nil, err
			}
			last = err
			continue
		}
		res.Body.Close()
		if !transient(res.StatusCode) {
			return res, nil
		}
		last = &retryLater{status: res.StatusCode, after: retryAfter(res)}
	}
	return nil, last
}

func (c *Client) metaTimeout() time.Duration {
	if c.MetaTimeout > 0 {
		return c.MetaTimeout
	}
	return 10 * time.Second
}

// refused reports whether nothing listens at the address or the name does not resolve, so that waiting does not help.
func refused(err error) bool {
	var dns *net.DNSError
	var op *net.OpError
	return errors.As(err, &dns) || errors.As(err, &op) && op.Op == "dial" && !op.Timeout()
}

func transient(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= 500
}

type retryLater struct {
	status int
	after  time.Duration
}

func (e *retryLater) Error() string { return fmt.Sprintf("status %d", e.status) }

func retryAfter(res *http.Response) time.Duration {
	v := res.Header.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil && n >= 0 {
		return min(time.Duration(n)*time.Second, maxPause)
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(time.Until(t), 0), maxPause)
	}
	return 0
}

// pause waits before attempt n, counted from 1: twice as long each time, or as long as the server says.
func (c *Client) pause(ctx context.Context, n int, last error) error {
	d := time.Second << (n - 1)
	var later *retryLater
	if errors.As(last, &later) && later.after > 0 {
		d = later.after
	}
	if c.wait != nil {
		return c.wait(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// get opens the content of a file from byte have on, following redirects to whatever host serves it.
func (c *Client) get(ctx context.Context, r Ref, name string, have int64) (*http.Response, error) {
	header := http.Header{}
	if have > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	address := c.fileURL(r, name)
	for range maxRedirects {
		res, err := c.send(ctx, http.MethodGet, address, header)
		if err != nil {
			return nil, err
		}
		if !redirect(res.StatusCode) {
			return res, nil
		}
		io.CopyN(io.Discard, res.Body, 1<<10) // lets the connection be used again
		res.Body.Close()
		next, err := res.Request.URL.Parse(res.Header.Get("Location"))
		if err != nil || next.Scheme != "https" && next.Scheme != "http" {
			return nil, errors.New("redirected to an address that cannot be read")
		}
		if res.Request.URL.Scheme == "https" && next.Scheme == "http" {
			return nil, errors.New("redirected from https to http")
		}
		address = next.String()
	}
	return nil, fmt.Errorf("more than %d redirects", maxRedirects)
}
