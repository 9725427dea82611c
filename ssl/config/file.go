package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// patience is how long a pipe may take to deliver a configuration.
var patience = 5 * time.Second

// openFile opens a configuration: a regular file or a pipe. Opening a pipe does not wait for a writer.
func openFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && info.Mode()&fs.ModeNamedPipe == 0 {
		err = &Error{File: name, Want: "expected a file", Fix: "give the path of a YAML file, or the name of a recipe"}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readFile returns the content of a configuration, cut off behind maxFile. It waits patience for the writer of a pipe.
func readFile(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil || info.Mode().IsRegular() {
		return limited(f, err)
	}
	deadline := time.Now().Add(patience)
	if err := f.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	for {
		text, err := limited(f, nil)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), err == nil && len(text) == 0 && time.Now().After(deadline):
			return nil, fmt.Errorf("nothing came through this pipe within %v", patience)
		case err != nil || len(text) > 0:
			return text, err
		}
		time.Sleep(10 * time.Millisecond) // no writer has opened the pipe yet
	}
}

func limited(f *os.File, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}
