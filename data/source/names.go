package source

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// printable returns a file's name as valid UTF-8: bytes that are not are written as \xNN, and so are control
// characters.
func printable(name string) string {
	clean := utf8.ValidString(name) && !strings.ContainsFunc(name, control)
	if clean {
		return name
	}
	var b strings.Builder
	for len(name) > 0 {
		r, n := utf8.DecodeRuneInString(name)
		if r == utf8.RuneError && n == 1 || control(r) {
			for _, c := range []byte(name[:n]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		} else {
			b.WriteString(name[:n])
		}
		name = name[n:]
	}
	return b.String()
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// classNames returns the sorted names of classes, and the index in it for each entry. Names are composed (Unicode
// NFC), so that a folder copied from a system that decomposes them has the same name as before. It is an error if two
// folders have one name then.
func classNames(folders []string) (classes []string, labels []int32, err error) {
	of := map[string]string{} // folder -> class
	first := map[string]string{}
	for _, f := range folders {
		if _, ok := of[f]; ok {
			continue
		}
		class := printable(norm.NFC.String(f))
		if other, ok := first[class]; ok {
			return nil, nil, fmt.Errorf("two folders, %+q and %+q, are both named %s; rename one of them or put their "+
				"pictures together",
				other, f, class)
		}
		of[f], first[class] = class, f
		classes = append(classes, class)
	}
	slices.Sort(classes)
	labels = make([]int32, len(folders))
	for i, f := range folders {
		at, _ := slices.BinarySearch(classes, of[f])
		labels[i] = int32(at)
	}
	return classes, labels, nil
}
