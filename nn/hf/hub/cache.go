package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// File returns the path, in the snapshot, of a file of a repository. It downloads the file if it is not in the cache.
func (c *Client) File(ctx context.Context, r Ref, name string) (string, error) {
	if err := checkName(name); err != nil {
		return "", fmt.Errorf("%s: %w", r, err)
	}
	if commitHash.MatchString(r.Revision) {
		// A commit never changes, so what is there is right.
		if p := c.pointer(r, r.Revision, name); exists(p) {
			return p, nil
		}
		if exists(c.absent(r, r.Revision, name)) {
			return "", fmt.Errorf("%s: %s: %w", r, name, ErrEntryNotFound)
		}
	}
	if c.Offline {
		return c.cached(r, name, fmt.Errorf("%s: %s: %w", r, name, ErrOffline))
	}
	m, err := c.head(ctx, r, name)
	switch {
	case errors.Is(err, ErrEntryNotFound):
		if commitHash.MatchString(m.commit) {
			err = errors.Join(err, c.writeRef(r, m.commit), c.writeFile(c.absent(r, m.commit, name), nil))
		}
		return "", err
	case errors.Is(err, ErrUnavailable) && ctx.Err() == nil:
		return c.cached(r, name, err)
	case err != nil:
		return "", err
	}
	path := c.pointer(r, m.commit, name)
	if exists(path) {
		return path, c.writeRef(r, m.commit)
	}
	if err := c.prepare(r); err != nil {
		return "", err
	}
	blob := filepath.Join(c.Cache, r.folder(), "blobs", m.etag)
	lockPath := filepath.Join(c.Cache, ".locks", r.folder(), m.etag+".lock")
	unlock, err := lock(ctx, lockPath)
	if err != nil {
		return "", fmt.Errorf("%s: %s: lock: %w", r, name, err)
	}
	defer unlock()
	if !exists(blob) && !exists(path) {
		if err := c.fetch(ctx, r, name, m, blob); err != nil {
			return "", err
		}
	}
	if !exists(path) {
		if err := c.link(blob, path); err != nil {
			return "", fmt.Errorf("%s: %s: %w", r, name, err)
		}
	}
	return path, c.writeRef(r, m.commit)
}

// cached returns the path of a file that is in the cache already. cause is the error for one that is not.
func (c *Client) cached(r Ref, name string, cause error) (string, error) {
	commit := r.Revision
	if !commitHash.MatchString(commit) {
		raw, err := os.ReadFile(filepath.Join(c.Cache, r.folder(), "refs", filepath.FromSlash(r.Revision)))
		if err != nil {
			return "", cause
		}
		commit = strings.TrimSpace(string(raw))
		if !commitHash.MatchString(commit) {
			return "", fmt.Errorf("%s: the cache's ref holds %.60q, which is not a commit; remove it", r, commit)
		}
	}
	if p := c.pointer(r, commit, name); exists(p) {
		return p, nil
	}
	if exists(c.absent(r, commit, name)) {
		return "", fmt.Errorf("%s: %s: %w", r, name, ErrEntryNotFound)
	}
	return "", cause
}

func (c *Client) pointer(r Ref, commit, name string) string {
	return filepath.Join(c.Cache, r.folder(), "snapshots", commit, filepath.FromSlash(name))
}

func (c *Client) absent(r Ref, commit, name string) string {
	return filepath.Join(c.Cache, r.folder(), ".no_exist", commit, filepath.FromSlash(name))
}

// exists reports whether a path exists, following links: a link to a removed blob does not.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// prepare makes the folders of a repository and marks the cache as one.
func (c *Client) prepare(r Ref) error {
	for _, dir := range []string{filepath.Join(c.Cache, r.folder(), "blobs"), filepath.Join(c.Cache, ".locks", r.folder())} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
	}
	tag := filepath.Join(c.Cache, "CACHEDIR.TAG")
	if exists(tag) {
		return nil
	}
	return c.writeFile(tag, []byte("Signature: 8a477f597d28d172789f06886806bc55\n# This file marks a cache folder; backup programs may skip it.\n"))
}

// writeRef records the commit of a branch or tag.
func (c *Client) writeRef(r Ref, commit string) error {
	if r.Revision == commit {
		return nil
	}
	path := filepath.Join(c.Cache, r.folder(), "refs", filepath.FromSlash(r.Revision))
	if raw, err := os.ReadFile(path); err == nil && string(raw) == commit {
		return nil
	}
	return c.writeFile(path, []byte(commit))
}

func (c *Client) writeFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// link puts a blob into a snapshot: a relative symbolic link, or a copy where there are none.
func (c *Client) link(blob, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	if !c.NoLinks {
		target, err := filepath.Rel(filepath.Dir(path), blob)
		if err != nil {
			return err
		}
		os.Remove(path) // a link whose blob is gone
		if err := os.Symlink(target, path); err == nil || errors.Is(err, os.ErrExist) {
			return nil
		}
	}
	in, err := os.Open(blob)
	if err != nil {
		return err
	}
	defer in.Close()
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	_, err = io.Copy(tmp, in)
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
