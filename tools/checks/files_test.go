package checks

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// maxTracked is what a clone may weigh.
const maxTracked = 25 << 20

// tracked lists the repository's files: what git tracks and what it does not ignore. Outside a git checkout
// there is nothing to check.
func tracked(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("not a git checkout: %v", err)
	}
	var files []string
	for _, f := range strings.Split(strings.TrimRight(string(out), "\x00"), "\x00") {
		if info, err := os.Lstat(filepath.Join(root(t), f)); err == nil && info.Mode().IsRegular() {
			files = append(files, f)
		}
	}
	return files
}

func TestTrackedFilesStaySmall(t *testing.T) {
	var total int64
	for _, f := range tracked(t) {
		info, err := os.Stat(filepath.Join(root(t), f))
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
		if info.Size() > maxTracked/4 {
			t.Errorf("%s has %d bytes", f, info.Size())
		}
	}
	if total > maxTracked {
		t.Errorf("the tracked files have %d bytes, more than %d", total, maxTracked)
	}
}

// generatedLine is Go's convention; the part after it must name the command.
var generatedLine = regexp.MustCompile(`(?m)^// Code generated (.*) DO NOT EDIT\.$`)

func TestGeneratedFilesNameTheirCommand(t *testing.T) {
	for _, f := range tracked(t) {
		if ext := filepath.Ext(f); ext != ".go" && ext != ".s" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root(t), f))
		if err != nil {
			t.Fatal(err)
		}
		head := text[:min(len(text), 2000)]
		m := generatedLine.FindSubmatch(head)
		if m == nil {
			if bytes.Contains(append([]byte("\n"), head...), []byte("\n// Code generated")) {
				t.Errorf("%s: the generated-code comment is not in Go's form", f)
			}
			continue
		}
		if !bytes.Contains(m[1], []byte("go run ")) && !bytes.Contains(m[1], []byte("just ")) && !generateDirective(t, filepath.Dir(f)) {
			t.Errorf("%s: neither the comment (%s) nor a go:generate line beside it says which command makes the file", f, m[1])
		}
	}
}

// generateDirective tells whether a Go file of the folder has a go:generate line, so that go generate makes
// the folder's generated files again.
func generateDirective(t *testing.T, dir string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root(t), dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("\n//go:generate ")) {
			return true
		}
	}
	return false
}

// privateWords must not appear in a product's sources; they are put together here so that this file is clean.
var privateWords = regexp.MustCompile(`/` + `work/(main|shared|brief)|/` + `opt/peer|\bTO` + `DO\b|\bFIX` + `ME\b`)

func TestSourcesSpeakOfTheProductAlone(t *testing.T) {
	for _, f := range tracked(t) {
		switch filepath.Ext(f) {
		case ".go", ".s", ".md", ".yaml", ".yml", ".sh", ".py", ".cu", ".h", "":
		default:
			continue
		}
		text, err := os.ReadFile(filepath.Join(root(t), f))
		if err != nil {
			t.Fatal(err)
		}
		if at := privateWords.FindIndex(text); at != nil {
			line := 1 + bytes.Count(text[:at[0]], []byte("\n"))
			t.Errorf("%s:%d: %q does not belong here", f, line, text[at[0]:at[1]])
		}
	}
}
