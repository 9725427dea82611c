// Package checks holds tests on the repository itself: which room may import which, names that say nothing,
// generated files, the size of what is tracked, the commands that the README promises, and the files, identifiers, tests
// and commands that CONTRIBUTING.md and ARCHITECTURE.md name.
//
// It has no code that the program uses.
package checks
