package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Client reads from one hub into one cache.
type Client struct {
	Endpoint string // "https://huggingface.co"
	Token    string // empty for anonymous access
	Cache    string // the hub folder of the cache
	Offline  bool   // never touch the network
	NoLinks  bool   // put files, not symbolic links, into snapshots
	// MetaTimeout bounds a metadata request, IdleTimeout the time without data within a download.
	MetaTimeout, IdleTimeout time.Duration
	// Progress, if set, is called with the number of bytes of a file that are downloaded.
	Progress func(file string, done, total int64)

	once sync.Once
	http *http.Client
	// wait pauses between attempts; tests replace it.
	wait func(context.Context, time.Duration) error
}

// FromEnv makes a client from the environment variables that huggingface_hub documents: HF_ENDPOINT, HF_HOME,
// HF_HUB_CACHE, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE and the timeouts.
func FromEnv(getenv func(string) string) (*Client, error) {
	first := func(keys ...string) string {
		for _, k := range keys {
			if v := getenv(k); v != "" {
				return v
			}
		}
		return ""
	}
	expand := func(p string) string {
		if p == "~" || strings.HasPrefix(p, "~/") {
			p = getenv("HOME") + p[1:]
		}
		return os.Expand(p, getenv)
	}
	home := expand(getenv("HF_HOME"))
	if home == "" {
		if x := getenv("XDG_CACHE_HOME"); x != "" {
			home = filepath.Join(expand(x), "huggingface")
		} else if h := getenv("HOME"); h != "" {
			home = filepath.Join(h, ".cache", "huggingface")
		} else {
			return nil, errors.New("neither HF_HOME nor HOME is set: there is no place for the model cache")
		}
	}
	c := &Client{
		Endpoint: strings.TrimRight(first("HF_ENDPOINT"), "/"),
		Cache:    expand(first("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")),
		Offline:  truth(first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")),
		NoLinks:  truth(getenv("HF_HUB_DISABLE_SYMLINKS")),
	}
	if c.Endpoint == "" {
		c.Endpoint = "https://huggingface.co"
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("HF_ENDPOINT is %q; it must be a URL such as https://huggingface.co", c.Endpoint)
	}
	if c.Cache == "" {
		c.Cache = filepath.Join(home, "hub")
	}
	if c.MetaTimeout, err = seconds(getenv, "HF_HUB_ETAG_TIMEOUT"); err != nil {
		return nil, err
	}
	if c.IdleTimeout, err = seconds(getenv, "HF_HUB_DOWNLOAD_TIMEOUT"); err != nil {
		return nil, err
	}
	c.Token = strings.TrimSpace(first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"))
	if c.Token == "" && !truth(getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		file := expand(getenv("HF_TOKEN_PATH"))
		if file == "" {
			file = filepath.Join(home, "token")
		}
		raw, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("access token: %w", err)
		}
		c.Token = strings.TrimSpace(string(raw))
	}
	if strings.ContainsAny(c.Token, "\r\n\t ") {
		return nil, errors.New("the access token has white space inside; check HF_TOKEN or the token file")
	}
	return c, nil
}

func truth(v string) bool {
	switch strings.ToUpper(v) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

func seconds(getenv func(string) string, key string) (time.Duration, error) {
	v := getenv(key)
	if v == "" {
		return 10 * time.Second, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s is %q; it must be a number of seconds", key, v)
	}
	return time.Duration(n) * time.Second, nil
}
