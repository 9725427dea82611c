// Package checks holds tests on the repository itself: which room may import which, names that say nothing,
// generated files, the size of what is tracked, and the commands that the README promises.
//
// It has no code that the program uses.
package checks
