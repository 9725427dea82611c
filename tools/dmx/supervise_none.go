//go:build !unix

package main

// supervise does nothing: this system has no such limits.
func supervise() (code int, supervised bool) { return 0, false }
