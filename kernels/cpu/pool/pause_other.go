//go:build noasm || !amd64

package pool

func pause() {}
