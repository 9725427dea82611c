//go:build !unix

package limits

// Supervise does nothing: this system has no such limits.
func Supervise() (code int, supervised bool) { return 0, false }
