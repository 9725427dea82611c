package durable

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// LockedError is the error of Lock when another process holds the lock.
type LockedError struct{ Holder string }

func (e *LockedError) Error() string { return e.Holder + " is writing here; wait for it" }

// Lock opens the file at path, making it if it is not there, and locks it until it is closed or the process ends,
// however it ends. Its content becomes the number of this process. The error is *LockedError when another process
// holds the lock.
func Lock(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, err
		}
		locked, err := lock(f)
		if err == nil && locked && !same(f, path) {
			f.Close() // the former holder has removed the file since it was opened
			continue
		}
		if err == nil && locked {
			err = errors.Join(f.Truncate(0), sign(f))
		} else if err == nil {
			err = &LockedError{Holder: holder(path)}
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		return f, nil
	}
}

func sign(f *os.File) error {
	_, err := fmt.Fprintln(f, os.Getpid())
	return err
}

// same reports whether f is still the file at path.
func same(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

func holder(path string) string {
	text, err := os.ReadFile(path)
	if pid := strings.TrimSpace(string(text)); err == nil && pid != "" {
		return "process " + pid
	}
	return "another process"
}
