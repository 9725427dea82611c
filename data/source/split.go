package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrNoSplit is in the chain of Open's error when the path is readable and has no such split.
var ErrNoSplit = errors.New("no such split")

// splitNames are the names a split goes by; the first is ours.
var splitNames = [][]string{{"train", "training"}, {"val", "valid", "validation"}, {"test", "testing"}}

// splitKind is our name of the split that a folder's name stands for, "" if it is none.
func splitKind(name string) string {
	for _, names := range splitNames {
		if slices.Contains(names, strings.ToLower(name)) {
			return names[0]
		}
	}
	return ""
}

// knownSplit tells whether a folder's name is that of a split.
func knownSplit(name string) bool { return splitKind(name) != "" }

// chooseSplit finds the wanted split among those that exist and returns its name as it exists. An exact name wins;
// auto is the test split, else the validation split; empty is train.
func chooseSplit(where, want string, have []string) (string, error) {
	if want == "" {
		want = "train"
	}
	if want == "auto" {
		for _, names := range [][]string{splitNames[2], splitNames[1]} {
			if s, ok := findName(have, names); ok {
				return s, nil
			}
		}
		return "", &noSplit{fmt.Sprintf("%s: no test or val split; there is %s", where, strings.Join(have, ", "))}
	}
	if slices.Contains(have, want) {
		return want, nil
	}
	for _, names := range splitNames {
		if slices.Contains(names, want) {
			if s, ok := findName(have, names); ok {
				return s, nil
			}
		}
	}
	return "", &noSplit{fmt.Sprintf("%s: no split %q; there is %s", where, want, strings.Join(have, ", "))}
}

func findName(have, names []string) (string, bool) {
	for _, name := range names {
		for _, h := range have {
			if strings.ToLower(h) == name {
				return h, true
			}
		}
	}
	return "", false
}

// onlyTrain is the answer of a path without splits: its whole content is the training split.
func onlyTrain(where, want string) error {
	if want == "" || want == "train" {
		return nil
	}
	if want == "auto" {
		want = "test or val"
	}
	return &noSplit{fmt.Sprintf("%s: no split %q: the path has no sub-folders or files named after splits, so all of it is train", where, want)}
}

// noSplit is an error in words of its own that is ErrNoSplit.
type noSplit struct{ message string }

// Error says which splits there are.
func (e *noSplit) Error() string { return e.message }

// Is makes it ErrNoSplit.
func (e *noSplit) Is(target error) bool { return target == ErrNoSplit }
