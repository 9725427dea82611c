package hub

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// Ref names a repository of models at a revision.
type Ref struct {
	Repo     string // "facebook/dinov2-base"
	Revision string // branch, tag or commit; "main" by default
}

var (
	repoName   = regexp.MustCompile(`^[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?$`)
	commitHash = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// ParseRef reads "org/name", "name" or either with "@revision".
func ParseRef(s string) (Ref, error) {
	repo, revision, has := strings.Cut(s, "@")
	if !has {
		revision = "main"
	}
	if !repoName.MatchString(repo) || strings.Contains(repo, "..") || strings.Contains(repo, "--") {
		return Ref{}, fmt.Errorf("%q is neither an existing file or folder nor a Hugging Face id such as facebook/dinov2-base", s)
	}
	if revision == "" || strings.ContainsAny(revision, "\\\x00 ?#%:*") || !filepath.IsLocal(revision) || path.Clean(revision) != revision {
		return Ref{}, fmt.Errorf("%q: %q is not a revision", s, revision)
	}
	return Ref{repo, revision}, nil
}

func (r Ref) String() string {
	if r.Revision == "main" {
		return r.Repo
	}
	return r.Repo + "@" + r.Revision
}

// folder is the repository's folder in the cache.
func (r Ref) folder() string { return "models--" + strings.ReplaceAll(r.Repo, "/", "--") }

// checkName refuses file names that would leave the snapshot.
func checkName(name string) error {
	if name == "" || strings.Contains(name, "\\") || strings.Contains(name, "\x00") || path.Clean(name) != name || !filepath.IsLocal(filepath.FromSlash(name)) {
		return fmt.Errorf("file name %q would leave the repository's folder", name)
	}
	return nil
}
