package skipped

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTenAreNamedAndTheRestCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "skipped.csv")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	news := func() []string {
		t.Helper()
		w, err := l.News()
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	if w := news(); w != nil {
		t.Errorf("warnings of an empty list: %q", w)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("an empty list has a file")
	}
	l.Add(Image{"a.png", Decoding, "a.png: cut off"})
	l.Add(Image{"b\xff.png", Decoding, "not an image"})
	l.Add(Image{"a.png", Decoding, "again"})
	if diff := cmp.Diff([]string{"skipped a.png: cut off", `skipped b\xff.png: not an image`}, news()); diff != "" {
		t.Error(diff)
	}
	for i := range 12 {
		l.Add(Image{fmt.Sprint(i), Decoding, "damaged"})
	}
	w := news()
	if len(w) != 9 || w[7] != "skipped 7: damaged" || w[8] != "skipped 4 more, 14 in all; "+path+" lists them" {
		t.Errorf("%q", w)
	}
	if w := news(); w != nil {
		t.Errorf("told twice: %q", w)
	}
	// Another stage has ten of its own.
	l.Add(Image{"notes.txt", Listing, "not named as a picture"})
	if diff := cmp.Diff([]string{"skipped notes.txt: not named as a picture"}, news()); diff != "" || l.Len(Listing) != 1 {
		t.Error(diff)
	}
	// A list that is opened again goes on without naming its images again.
	again, err := Open(path)
	if err != nil || again.Len(Decoding) != 14 {
		t.Fatalf("%d images, %v", again.Len(Decoding), err)
	}
	again.Add(Image{"3", Decoding, "damaged"})
	if w, err := again.News(); w != nil || err != nil {
		t.Errorf("%q, %v", w, err)
	}
	if diff := cmp.Diff(l.Images(), again.Images()); diff != "" {
		t.Error(diff)
	}
	if err := os.WriteFile(path, []byte("id,stage,reason\n\"a"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil {
		t.Error("a damaged list was read")
	}
}

func TestNamesAreWrittenAsUTF8(t *testing.T) {
	for name, want := range map[string]string{"plain ü": "plain ü", "a\xffb": `a\xffb`, "\xc3": `\xc3`, "�": "�"} {
		if got := Text(name); got != want {
			t.Errorf("%q is written as %q, want %q", name, got, want)
		}
	}
}
