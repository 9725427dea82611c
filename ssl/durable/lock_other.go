//go:build !unix

package durable

import "os"

// lock does nothing: this system has no advisory locks.
func lock(*os.File) (bool, error) { return true, nil }
