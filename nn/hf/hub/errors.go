package hub

import (
	"errors"
	"fmt"
	"net/http"
)

// The causes of failure that the hub reports. Errors of this package wrap one of them where it applies.
var (
	ErrRepoNotFound     = errors.New("repository not found")
	ErrRevisionNotFound = errors.New("revision not found")
	ErrEntryNotFound    = errors.New("file not found in the repository")
	ErrGated            = errors.New("access to the repository is restricted")
	ErrUnauthorized     = errors.New("not authorised")
	ErrOffline          = errors.New("not in the cache, and offline mode is on (HF_HUB_OFFLINE)")
	ErrCorrupt          = errors.New("downloaded content does not match its hash")
	ErrUnavailable      = errors.New("the hub could not be reached")
)

// statusError returns the error for a response, with what to do about it. It never contains a URL, which may be
// signed.
func (c *Client) statusError(r Ref, name string, res *http.Response) error {
	code, message := res.Header.Get("X-Error-Code"), res.Header.Get("X-Error-Message")
	what := r.String() + ": " + name
	detail := ""
	if message != "" {
		detail = " (" + message + ")"
	}
	switch {
	case code == "GatedRepo":
		return fmt.Errorf("%s: %w%s: accept its conditions at %s/%s with your account and set HF_TOKEN", what, ErrGated, detail, c.Endpoint, r.Repo)
	case code == "RevisionNotFound":
		return fmt.Errorf("%s: %w%s", what, ErrRevisionNotFound, detail)
	case code == "EntryNotFound":
		return fmt.Errorf("%s: %w", what, ErrEntryNotFound)
	case code == "RepoNotFound", res.StatusCode == http.StatusUnauthorized && c.Token == "":
		return fmt.Errorf("%s: %w%s: check the name; a private or gated repository needs a token in HF_TOKEN", what, ErrRepoNotFound, detail)
	case res.StatusCode == http.StatusUnauthorized, res.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%s: %w%s: the hub refuses the access token (status %d); check HF_TOKEN", what, ErrUnauthorized, detail, res.StatusCode)
	case res.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%s: %w%s", what, ErrEntryNotFound, detail)
	}
	return fmt.Errorf("%s: %w: status %d%s", what, ErrUnavailable, res.StatusCode, detail)
}
