package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// fakeHub serves one repository, org/m, and plays the content host on a second address.
type fakeHub struct {
	t     *testing.T
	files map[string][]byte
	large map[string]bool // served by the content host, hashed with SHA-256
	hub   *httptest.Server
	cdn   *httptest.Server

	mu   sync.Mutex
	log  []string
	seen []*http.Request
	// hooks answer instead of the fake; they return true if they did.
	onHub, onCDN func(w http.ResponseWriter, r *http.Request) bool
}

func newHub(t *testing.T) *fakeHub {
	f := &fakeHub{t: t, files: map[string][]byte{
		"config.json":              []byte(`{"model_type":"dinov2"}`),
		"preprocessor_config.json": []byte(`{}`),
		"model.safetensors":        []byte(strings.Repeat("0123456789", 30_000)),
		"sub/dir/file.txt":         []byte("nested"),
		"empty":                    nil,
	}, large: map[string]bool{"model.safetensors": true}}
	f.cdn = httptest.NewServer(http.HandlerFunc(f.serveCDN))
	f.hub = httptest.NewServer(http.HandlerFunc(f.serveHub))
	t.Cleanup(f.hub.Close)
	t.Cleanup(f.cdn.Close)
	return f
}

func (f *fakeHub) client(t *testing.T) *Client {
	return &Client{Endpoint: f.hub.URL, Cache: t.TempDir(), Token: "hf_secret", wait: func(ctx context.Context, d time.Duration) error {
		f.note("wait " + d.String())
		return ctx.Err()
	}}
}

func (f *fakeHub) note(s string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, s)
}

func (f *fakeHub) count(prefix string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, l := range f.log {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

func etag(content []byte, large bool) string {
	if large {
		s := sha256.Sum256(content)
		return hex.EncodeToString(s[:])
	}
	s := sha1.Sum(append([]byte(fmt.Sprintf("blob %d\x00", len(content))), content...))
	return hex.EncodeToString(s[:])
}

func (f *fakeHub) serveHub(w http.ResponseWriter, r *http.Request) {
	f.note(r.Method + " hub " + r.URL.Path)
	f.mu.Lock()
	f.seen = append(f.seen, r)
	f.mu.Unlock()
	if f.onHub != nil && f.onHub(w, r) {
		return
	}
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/org/m/resolve/")
	revision, name, _ := strings.Cut(path, "/")
	w.Header().Set("X-Repo-Commit", commit)
	if revision != "main" && revision != commit && revision != "refs%2Fpr%2F1" {
		w.Header().Set("X-Error-Code", "RevisionNotFound")
		http.Error(w, "", 404)
		return
	}
	content, ok := f.files[name]
	if !ok {
		w.Header().Set("X-Error-Code", "EntryNotFound")
		http.Error(w, "", 404)
		return
	}
	if f.large[name] {
		w.Header().Set("X-Linked-Etag", `"`+etag(content, true)+`"`)
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(content)))
		w.Header().Set("Location", f.cdn.URL+"/blob/"+name+"?Signature=s3cr3t")
		w.WriteHeader(http.StatusFound)
		return
	}
	w.Header().Set("ETag", `W/"`+etag(content, false)+`"`)
	serveRange(w, r, content)
}

func (f *fakeHub) serveCDN(w http.ResponseWriter, r *http.Request) {
	f.note(r.Method + " cdn " + r.Header.Get("Range"))
	if r.Header.Get("Authorization") != "" {
		f.t.Errorf("the token reached the content host: %v", r.Header)
	}
	if f.onCDN != nil && f.onCDN(w, r) {
		return
	}
	serveRange(w, r, f.files[strings.TrimPrefix(r.URL.Path, "/blob/")])
}

func serveRange(w http.ResponseWriter, r *http.Request, content []byte) {
	from := 0
	if n, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); n == 1 && err == nil && from <= len(content) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
		w.Header().Set("Content-Length", strconv.Itoa(len(content)-from))
		w.WriteHeader(http.StatusPartialContent)
	} else {
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	}
	if r.Method != http.MethodHead {
		w.Write(content[from:])
	}
}

var ref = Ref{"org/m", "main"}

// tree lists a cache: files with their content's length, links with their target.
func tree(t *testing.T, root string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		if to, err := os.Readlink(p); err == nil {
			out = append(out, rel+" -> "+to)
			return nil
		}
		st, err := os.Stat(p)
		if err != nil {
			return err
		}
		out = append(out, fmt.Sprintf("%s %d", rel, st.Size()))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestModelFillsTheCache(t *testing.T) {
	f := newHub(t)
	c := f.client(t)
	var last string
	c.Progress = func(file string, done, total int64) { last = fmt.Sprintf("%s %d/%d", file, done, total) }
	dir, err := c.Model(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(c.Cache, "models--org--m", "snapshots", commit); dir != want {
		t.Errorf("snapshot %s, want %s", dir, want)
	}
	if last != "model.safetensors 300000/300000" {
		t.Errorf("last progress %q", last)
	}
	cfg, proc, model := etag(f.files["config.json"], false), etag(f.files["preprocessor_config.json"], false), etag(f.files["model.safetensors"], true)
	want := []string{
		".locks/models--org--m/" + proc + ".lock 0", ".locks/models--org--m/" + model + ".lock 0", ".locks/models--org--m/" + cfg + ".lock 0",
		"CACHEDIR.TAG 107",
		"models--org--m/.no_exist/" + commit + "/processor_config.json 0",
		"models--org--m/blobs/" + proc + " 2", "models--org--m/blobs/" + model + " 300000", "models--org--m/blobs/" + cfg + " 23",
		"models--org--m/refs/main 40",
		"models--org--m/snapshots/" + commit + "/config.json -> ../../blobs/" + cfg,
		"models--org--m/snapshots/" + commit + "/model.safetensors -> ../../blobs/" + model,
		"models--org--m/snapshots/" + commit + "/preprocessor_config.json -> ../../blobs/" + proc,
	}
	got := tree(t, c.Cache)
	sortStrings(got)
	sortStrings(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"config.json", "model.safetensors"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(b) != string(f.files[name]) {
			t.Errorf("%s differs (%v)", name, err)
		}
	}
	for _, r := range f.seen {
		if r.Header.Get("Authorization") != "Bearer hf_secret" {
			t.Errorf("%s %s without the token", r.Method, r.URL)
		}
	}

	// A second call downloads nothing; a commit asks for nothing at all; offline works from the cache.
	gets := f.count("GET")
	if _, err := c.Model(t.Context(), ref); err != nil || f.count("GET") != gets {
		t.Errorf("the second call downloaded again (%v)", err)
	}
	requests := len(f.log)
	if _, err := c.File(t.Context(), Ref{"org/m", commit}, "config.json"); err != nil || len(f.log) != requests {
		t.Errorf("a cached commit asked the hub (%v)", err)
	}
	f.hub.Close()
	if got, err := c.Model(t.Context(), ref); err != nil || got != dir {
		t.Errorf("with the hub gone: %s, %v", got, err)
	}
	c.Offline = true
	if got, err := c.Model(t.Context(), ref); err != nil || got != dir {
		t.Errorf("offline: %s, %v", got, err)
	}
	if _, err := c.File(t.Context(), ref, "other.bin"); !errors.Is(err, ErrOffline) {
		t.Errorf("offline, not cached: %v", err)
	}
}

func sortStrings(s []string) {
	for i := range s {
		for j := i; j > 0 && s[j] < s[j-1]; j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
}

func TestNestedNamesRevisionsAndCopies(t *testing.T) {
	f := newHub(t)
	c := f.client(t)
	p, err := c.File(t.Context(), Ref{"org/m", "refs/pr/1"}, "sub/dir/file.txt")
	if err != nil {
		t.Fatal(err)
	}
	if to, _ := os.Readlink(p); to != "../../../../blobs/"+etag([]byte("nested"), false) {
		t.Errorf("link target %q", to)
	}
	if b, _ := os.ReadFile(filepath.Join(c.Cache, "models--org--m/refs/refs/pr/1")); string(b) != commit {
		t.Errorf("ref holds %q", b)
	}
	c.NoLinks = true
	p, err = c.File(t.Context(), ref, "empty")
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Lstat(p); err != nil || !st.Mode().IsRegular() || st.Size() != 0 {
		t.Errorf("without links: %v, %v", st, err)
	}
}

func TestAbsentFileIsRemembered(t *testing.T) {
	f := newHub(t)
	c := f.client(t)
	if _, err := c.File(t.Context(), ref, "nope.json"); !errors.Is(err, ErrEntryNotFound) {
		t.Fatalf("got %v", err)
	}
	if !exists(filepath.Join(c.Cache, "models--org--m/.no_exist", commit, "nope.json")) {
		t.Error("no marker for the absent file")
	}
	c.Offline = true
	if _, err := c.File(t.Context(), ref, "nope.json"); !errors.Is(err, ErrEntryNotFound) {
		t.Errorf("offline: %v", err)
	}
}

// Every answer that is not the file, and what comes of it.
func TestStatuses(t *testing.T) {
	tests := []struct {
		name     string
		status   int
		code     string
		token    string
		want     error
		attempts int
		message  string
	}{
		{"unknown repository", 401, "RepoNotFound", "", ErrRepoNotFound, 1, "HF_TOKEN"},
		{"401 without a token", 401, "", "", ErrRepoNotFound, 1, "private or gated"},
		{"401 with a bad token", 401, "", "bad", ErrUnauthorized, 1, "check HF_TOKEN"},
		{"403", 403, "", "t", ErrUnauthorized, 1, "status 403"},
		{"gated", 403, "GatedRepo", "t", ErrGated, 1, "accept its conditions at"},
		{"unknown revision", 404, "RevisionNotFound", "t", ErrRevisionNotFound, 1, ""},
		{"404", 404, "", "t", ErrEntryNotFound, 1, ""},
		{"429", 429, "", "t", ErrUnavailable, maxAttempts, "status 429"},
		{"500", 500, "", "t", ErrUnavailable, maxAttempts, "status 500"},
		{"503", 503, "", "t", ErrUnavailable, maxAttempts, "status 503"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newHub(t)
			f.onHub = func(w http.ResponseWriter, r *http.Request) bool {
				if tt.code != "" {
					w.Header().Set("X-Error-Code", tt.code)
				}
				w.WriteHeader(tt.status)
				return true
			}
			c := f.client(t)
			c.Token = tt.token
			_, err := c.File(t.Context(), ref, "config.json")
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.message) || !strings.Contains(err.Error(), "org/m") {
				t.Errorf("got %v", err)
			}
			if n := f.count("HEAD"); n != tt.attempts {
				t.Errorf("%d attempts, want %d", n, tt.attempts)
			}
			if got := tree(t, c.Cache); len(got) != 0 {
				t.Errorf("left in the cache: %v", got)
			}
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	f := newHub(t)
	n := 0
	f.onHub = func(w http.ResponseWriter, r *http.Request) bool {
		n++
		if n > 2 {
			return false
		}
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(429)
		return true
	}
	if _, err := f.client(t).File(t.Context(), ref, "config.json"); err != nil {
		t.Fatal(err)
	}
	if f.count("wait 7s") != 2 {
		t.Errorf("log: %v", f.log)
	}
}

// The connection breaks three times; the download goes on where it stopped and the result is whole.
func TestResume(t *testing.T) {
	f := newHub(t)
	content := f.files["model.safetensors"]
	breaks := 3
	f.onCDN = func(w http.ResponseWriter, r *http.Request) bool {
		if breaks == 0 {
			return false
		}
		breaks--
		from := 0
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		w.Header().Set("Content-Length", strconv.Itoa(len(content)-from))
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
			w.WriteHeader(http.StatusPartialContent)
		}
		w.Write(content[from : from+50_000])
		panic(http.ErrAbortHandler)
	}
	c := f.client(t)
	p, err := c.File(t.Context(), ref, "model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(p); string(b) != string(content) {
		t.Error("content differs")
	}
	if f.count("GET cdn bytes=150000-") != 1 {
		t.Errorf("log: %v", f.log)
	}
}

// leave puts a partial download of an earlier run into the cache.
func leave(t *testing.T, c *Client, tag string, content []byte) string {
	t.Helper()
	dir := filepath.Join(c.Cache, "models--org--m", "blobs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := filepath.Join(dir, tag+".dmx-part")
	if err := os.WriteFile(p, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPartOfAnEarlierRun(t *testing.T) {
	for _, tt := range []struct {
		name string
		part func(content []byte) []byte
		hook func(w http.ResponseWriter, r *http.Request) bool
		want string // in the log
	}{
		{"is continued", func(b []byte) []byte { return b[:1000] }, nil, "GET cdn bytes=1000-"},
		{"is complete already", func(b []byte) []byte { return b }, nil, "HEAD"},
		{"is wrong and thrown away", func(b []byte) []byte { return []byte("garbage") }, nil, "GET cdn "},
		{"is too long", func(b []byte) []byte { return append(append([]byte(nil), b...), 'x') }, nil, "GET cdn "},
		{"is of no use where ranges are ignored", func(b []byte) []byte { return b[:1000] }, func(w http.ResponseWriter, r *http.Request) bool {
			r.Header.Del("Range")
			return false
		}, "GET cdn bytes=1000-"},
		{"is refused by the server", func(b []byte) []byte { return b[:1000] }, func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return true
			}
			return false
		}, "GET cdn bytes=1000-"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newHub(t)
			f.onCDN = tt.hook
			c := f.client(t)
			content := f.files["model.safetensors"]
			part := leave(t, c, etag(content, true), tt.part(content))
			p, err := c.File(t.Context(), ref, "model.safetensors")
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := os.ReadFile(p); string(b) != string(content) {
				t.Error("content differs")
			}
			if exists(part) {
				t.Error("the part is still there")
			}
			if f.count(tt.want) == 0 {
				t.Errorf("log %v lacks %q", f.log, tt.want)
			}
		})
	}
}

func TestWrongContent(t *testing.T) {
	for name, body := range map[string]string{"other bytes": strings.Repeat("x", 300_000), "more bytes": strings.Repeat("x", 300_001)} {
		t.Run(name, func(t *testing.T) {
			f := newHub(t)
			f.onCDN = func(w http.ResponseWriter, r *http.Request) bool { w.Write([]byte(body)); return true }
			c := f.client(t)
			_, err := c.File(t.Context(), ref, "model.safetensors")
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("got %v", err)
			}
			for _, l := range tree(t, c.Cache) {
				if strings.Contains(l, "blobs/") || strings.Contains(l, "snapshots/") {
					t.Errorf("left behind: %s", l)
				}
			}
		})
	}
}

func TestContentHostFails(t *testing.T) {
	f := newHub(t)
	f.onCDN = func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(502); return true }
	_, err := f.client(t).File(t.Context(), ref, "model.safetensors")
	if !errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), "s3cr3t") || f.count("GET cdn") != maxAttempts {
		t.Errorf("got %v after %d attempts", err, f.count("GET cdn"))
	}
	f.cdn.Close()
	if _, err := f.client(t).File(t.Context(), ref, "model.safetensors"); err == nil || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("an unreachable content host: %v", err)
	}
}

func TestSilentServerIsGivenUp(t *testing.T) {
	f := newHub(t)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	f.onCDN = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Length", "300000")
		w.Write([]byte("0123"))
		w.(http.Flusher).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return true
	}
	c := f.client(t)
	c.IdleTimeout = 30 * time.Millisecond
	if _, err := c.File(t.Context(), ref, "model.safetensors"); err == nil || !strings.Contains(err.Error(), "no data for 30ms") {
		t.Errorf("got %v", err)
	}
}

func TestRenamedRepository(t *testing.T) {
	f := newHub(t)
	f.onHub = func(w http.ResponseWriter, r *http.Request) bool {
		if rest, ok := strings.CutPrefix(r.URL.Path, "/old/m/"); ok {
			w.Header().Set("Location", "/org/m/"+rest)
			w.WriteHeader(http.StatusTemporaryRedirect)
			return true
		}
		return false
	}
	c := f.client(t)
	if _, err := c.File(t.Context(), Ref{"old/m", "main"}, "config.json"); err != nil {
		t.Fatal(err)
	}
}

func TestEndlessRedirects(t *testing.T) {
	f := newHub(t)
	f.onHub = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Location", r.URL.Path)
		w.WriteHeader(http.StatusFound)
		return true
	}
	if _, err := f.client(t).File(t.Context(), ref, "config.json"); err == nil || !strings.Contains(err.Error(), "redirects") {
		t.Errorf("got %v", err)
	}
}

func TestHostileAnswers(t *testing.T) {
	for _, tt := range []struct{ name, commit, etag, want string }{
		{"commit leaves the cache", "../../../../etc", strings.Repeat("a", 40), "no commit"},
		{"hash leaves the cache", commit, "../../../evil", "could not be verified"},
		{"no hash", commit, "", "could not be verified"},
		{"no commit", "", strings.Repeat("a", 40), "HF_ENDPOINT"},
	} {
		f := newHub(t)
		f.onHub = func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("X-Repo-Commit", tt.commit)
			w.Header().Set("ETag", `"`+tt.etag+`"`)
			w.Header().Set("Content-Length", "0")
			return true
		}
		c := f.client(t)
		if _, err := c.File(t.Context(), ref, "config.json"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := tree(t, c.Cache); len(got) != 0 {
			t.Errorf("%s: wrote %v", tt.name, got)
		}
	}
}

func TestShards(t *testing.T) {
	f := newHub(t)
	delete(f.files, "model.safetensors")
	f.files["model.safetensors.index.json"] = []byte(`{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors","c":"model-00001-of-00002.safetensors"}}`)
	f.files["model-00001-of-00002.safetensors"] = []byte("one")
	c := f.client(t)
	if _, err := c.Model(t.Context(), ref); err == nil || !strings.Contains(err.Error(), "model-00002-of-00002.safetensors") {
		t.Errorf("a missing shard: %v", err)
	}
	f.files["model-00002-of-00002.safetensors"] = []byte("two")
	os.RemoveAll(filepath.Join(c.Cache, "models--org--m", ".no_exist"))
	dir, err := c.Model(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "model-00002-of-00002.safetensors")); string(b) != "two" {
		t.Errorf("shard holds %q", b)
	}
	f.files["model.safetensors.index.json"] = []byte(`{"weight_map":{"a":"../../x"}}`)
	if _, err := f.client(t).Model(t.Context(), ref); err == nil || !strings.Contains(err.Error(), "plain file name") {
		t.Errorf("a shard outside the folder: %v", err)
	}
}

// An adapter's repository has its own file names, and sometimes the config of its base beside them.
func TestAdapters(t *testing.T) {
	for _, tt := range []struct {
		name string
		add  []string
		want string // in the error
	}{
		{"safetensors", []string{"adapter_config.json", "adapter_model.safetensors"}, ""},
		{"PyTorch, with the base's config", []string{"config.json", "adapter_config.json", "adapter_model.bin"}, ""},
		{"without weights", []string{"adapter_config.json"}, "adapter_model.safetensors"},
		{"nothing", nil, "no adapter_config.json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newHub(t)
			clear(f.files)
			for _, name := range tt.add {
				f.files[name] = []byte(name)
			}
			dir, err := f.client(t).Model(t.Context(), ref)
			if tt.want != "" {
				if !errors.Is(err, ErrEntryNotFound) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range tt.add {
				if b, err := os.ReadFile(filepath.Join(dir, name)); string(b) != name {
					t.Errorf("%s holds %q (%v)", name, b, err)
				}
			}
		})
	}
}

func TestParallelDownloadsMeetOnce(t *testing.T) {
	f := newHub(t)
	c := f.client(t)
	var wg sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		wg.Go(func() { _, errs[i] = c.File(context.Background(), ref, "model.safetensors") })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if n := f.count("GET cdn"); n != 1 {
		t.Errorf("%d downloads of one file", n)
	}
}

func TestInterruptLeavesNothingVisible(t *testing.T) {
	f := newHub(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.onCDN = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Length", "300000")
		w.Write([]byte("0123456789"))
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
		return true
	}
	c := f.client(t)
	if _, err := c.File(ctx, ref, "model.safetensors"); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	for _, l := range tree(t, c.Cache) {
		if strings.Contains(l, "snapshots/") || strings.Contains(l, "blobs/") && !strings.Contains(l, ".dmx-part") {
			t.Errorf("visible after an interrupt: %s", l)
		}
	}
}

func TestParseRef(t *testing.T) {
	for s, want := range map[string]Ref{
		"facebook/dinov2-base":     {"facebook/dinov2-base", "main"},
		"org/name@v1.0":            {"org/name", "v1.0"},
		"org/name@refs/pr/1":       {"org/name", "refs/pr/1"},
		"gpt2":                     {"gpt2", "main"},
		"org/name@" + commit:       {"org/name", commit},
		"a-b.c/D_e":                {"a-b.c/D_e", "main"},
		"MahmoodLab/UNI2-h@branch": {"MahmoodLab/UNI2-h", "branch"},
	} {
		if got, err := ParseRef(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "/abs/path", "a/b/c", "../x", "a/..", "org/na me", "org/name@", "org/name@../../x", "org/name@/etc", "a--b/c", "org/name@a//b", ".hidden/x"} {
		if got, err := ParseRef(s); err == nil {
			t.Errorf("%q was read as %v", s, got)
		}
	}
	for _, n := range []string{"", "../x", "/x", "a/../../x", `a\b`, "a//b", "."} {
		if n != "." && checkName(n) == nil {
			t.Errorf("file name %q passed", n)
		}
	}
}

func TestFromEnv(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".cache/huggingface"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".cache/huggingface/token"), []byte(" stored\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		env  map[string]string
		want *Client
	}{
		{"defaults", nil, &Client{Endpoint: "https://huggingface.co", Token: "stored", Cache: home + "/.cache/huggingface/hub"}},
		{"all set", map[string]string{"HF_ENDPOINT": "http://mirror/", "HF_HUB_CACHE": "$HOME/c", "HF_TOKEN": "t", "HF_HUB_OFFLINE": "yes", "HF_HUB_DISABLE_SYMLINKS": "1"},
			&Client{Endpoint: "http://mirror", Token: "t", Cache: home + "/c", Offline: true, NoLinks: true}},
		{"old names", map[string]string{"HUGGINGFACE_HUB_CACHE": "/c", "HUGGING_FACE_HUB_TOKEN": "old", "TRANSFORMERS_OFFLINE": "1"},
			&Client{Endpoint: "https://huggingface.co", Token: "old", Cache: "/c", Offline: true}},
		{"home elsewhere", map[string]string{"HF_HOME": "~/hf"}, &Client{Endpoint: "https://huggingface.co", Cache: home + "/hf/hub"}},
		{"xdg", map[string]string{"XDG_CACHE_HOME": "/x"}, &Client{Endpoint: "https://huggingface.co", Cache: "/x/huggingface/hub"}},
		{"no implicit token", map[string]string{"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, &Client{Endpoint: "https://huggingface.co", Cache: home + "/.cache/huggingface/hub"}},
	} {
		tt.want.MetaTimeout, tt.want.IdleTimeout = 10*time.Second, 10*time.Second
		got, err := FromEnv(func(k string) string {
			if k == "HOME" {
				return home
			}
			return tt.env[k]
		})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreUnexported(Client{})); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
	for k, v := range map[string]string{"HF_ENDPOINT": "ftp://x", "HF_TOKEN": "a b", "HF_HUB_ETAG_TIMEOUT": "soon"} {
		if _, err := FromEnv(func(key string) string { return map[string]string{k: v, "HOME": home}[key] }); err == nil {
			t.Errorf("%s=%q passed", k, v)
		}
	}
}
