//go:build !unix

package hub

import (
	"context"
	"os"
)

// lock creates the lock file; without advisory locks, verification and renaming alone keep the cache whole.
func lock(_ context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o664)
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}
