package config

import (
	"fmt"
	"strings"
)

// Error is one mistake in a configuration.
type Error struct {
	File  string // path, recipe name or "command line"
	Line  int    // 0 when not known
	Key   string // path such as train.lr; empty for the file as a whole
	Value string // as it was written; empty when there is none
	Want  string // what was expected
	Fix   string // what to do about it
}

// Error prints "run.yaml:12: train.lr: fast: expected a number above 0; write train.lr: 0.0001".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Key != "" {
		b.WriteString(": " + e.Key)
	}
	if e.Value != "" {
		b.WriteString(": " + e.Value)
	}
	b.WriteString(": " + e.Want)
	if e.Fix != "" {
		b.WriteString("; " + e.Fix)
	}
	return b.String()
}

// Errors is every mistake found, in the order of the keys.
type Errors []*Error

// Error prints one mistake a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, x := range e {
		lines[i] = x.Error()
	}
	return strings.Join(lines, "\n")
}

// or returns e as an error, nil when there is no mistake.
func (e Errors) or() error {
	if len(e) == 0 {
		return nil
	}
	return e
}
