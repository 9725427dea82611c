package source

import (
	"fmt"
	"slices"
	"strings"
)

// Skipped is a file or folder that is left out.
type Skipped struct {
	Path   string // below the path of the data
	Reason string
}

// The reasons why files are left out when a path is listed.
const (
	hidden         = "hidden"
	notPicture     = "not named as a picture"
	danglingLink   = "link to nothing"
	selfLink       = "link that leads back to itself"
	linkUp         = "link back to a folder above it"
	specialFile    = "special file, such as a pipe or a socket"
	emptyFolder    = "folder without a picture"
	besideArchives = "beside the archives"
	archiveBeside  = "archive beside the pictures"
	notInArchive   = "link or special file in an archive"
)

// Summary counts what is left out by reason, in one line: "2 hidden, 1 link to nothing". It is "" for nothing.
func Summary(skipped []Skipped) string {
	n := map[string]int{}
	var reasons []string
	for _, s := range skipped {
		if n[s.Reason]++; n[s.Reason] == 1 {
			reasons = append(reasons, s.Reason)
		}
	}
	slices.Sort(reasons)
	parts := make([]string, len(reasons))
	for i, r := range reasons {
		parts[i] = fmt.Sprintf("%d %s", n[r], r)
	}
	return strings.Join(parts, ", ")
}
