//go:build !amd64 || noasm

package augment

import "testing"

// onEveryPath runs a test with every set of kernels that this machine and build have.
func onEveryPath(t *testing.T, f func(*testing.T)) { f(t) }
