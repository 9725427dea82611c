package main

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// shape is an arrangement of folders.
type shape struct {
	name  string
	files []string
	split string // the folder that a user of ImageFolder would name, "" for the path itself
}

// each lists n pictures in each folder.
func each(n int, folders ...string) (files []string) {
	for _, f := range folders {
		for i := range n {
			files = append(files, fmt.Sprintf("%s/%d.png", f, i))
		}
	}
	return files
}

var shapes = []shape{
	{"class folders", each(5, "bus", "car", "van"), ""},
	{"one class folder", each(5, "bus"), ""},
	{"class folders with folders in them", each(3, "bus/red", "bus/blue", "car"), ""},
	{"splits of classes", each(3, "train/a", "train/b", "test/a", "test/b"), "train"},
	{"three splits, one class missing in test", each(3, "train/a", "train/b", "val/a", "val/b", "test/b"), "train"},
	{"splits with other names", each(3, "Training/a", "Training/b", "validation/a", "validation/b"), "Training"},
	{"a class called train", each(5, "bus", "car", "train"), ""},
	{"a class called validation", each(5, "bus", "car", "validation"), ""},
	{"classes called test, train, val", each(5, "test", "train", "val"), ""},
	{"pictures alone", []string{"0.png", "1.png", "2.png", "3.png"}, ""},
}

// change is what people and their systems add to a folder. at is the folder with the classes.
type change struct {
	name string
	add  func(at string) error
}

var changes = []change{
	{"nothing more", func(string) error { return nil }},
	{"a stray picture", func(at string) error { return put(at, "stray.png") }},
	{"many stray pictures", func(at string) error {
		return put(at, "s0.png", "s1.png", "s2.png", "s3.png", "s4.png", "s5.png", "s6.png", "s7.png", "s8.png")
	}},
	{"hidden files and folders", func(at string) error {
		return put(at, ".DS_Store", "new/._0.png", "new/0.png", ".cache/0.png")
	}},
	{"text beside and among them", func(at string) error {
		return put(at, "labels.csv", "README", "new/0.png", "new/notes.txt")
	}},
	{"a link to nothing", func(at string) error { return link(at, "gone.png", "new/1.png") }},
	{"a link to itself", func(at string) error { return link(at, "1.png", "new/1.png") }},
	{"a link back up", func(at string) error { return link(at, "..", "new/up") }},
	{"a linked picture", func(at string) error { return link(at, "0.png", "new/1.png") }},
	{"a linked class", func(at string) error {
		if err := put(at, "new/0.png"); err != nil {
			return err
		}
		return os.Symlink("new", filepath.Join(at, "other"))
	}},
	{"a pipe", func(at string) error {
		if err := put(at, "new/0.png"); err != nil {
			return err
		}
		return syscall.Mkfifo(filepath.Join(at, "new", "pipe.png"), 0o644)
	}},
	{"names that are not UTF-8", func(at string) error { return put(at, "n\xffew/0.png", "n\xffew/1\xfe.png") }},
	{"decomposed names", func(at string) error { return put(at, "O\u0308dem/0.png", "O\u0308dem/u\u0308.png") }},
	{"odd names", func(at string) error {
		return put(at, "new, \"quoted\" 'one' \U0001f642/0 1.png", "-rf/--help.png", "a\nb/0.png", "x.png/0.png")
	}},
	{"upper-case names", func(at string) error { return put(at, "New/0.PNG", "new/1.Png", "NEW/2.png") }},
	{"an empty folder", func(at string) error { return os.MkdirAll(filepath.Join(at, "empty"), 0o755) }},
	{"other formats", func(at string) error { return put(at, "new/0.gif", "new/1.ppm", "new/2.png") }},
	{"an archive", func(at string) error { return put(at, "all.tar") }},
	{"a class called images", func(at string) error { return put(at, "images/0.png", "images/1.png") }},
	{"a class called testing", func(at string) error { return put(at, "testing/0.png", "testing/1.png") }},
}

// build makes one layout below root.
func build(root string, s shape, c change) error {
	if err := put(root, s.files...); err != nil {
		return err
	}
	return c.add(filepath.Join(root, s.split))
}

// put writes files: pictures by their names, an archive, or text.
func put(root string, names ...string) error {
	for _, name := range names {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		content := []byte("text")
		switch strings.ToLower(filepath.Ext(name)) {
		case ".png", ".gif", ".ppm":
			var b bytes.Buffer
			if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 2, 2))); err != nil {
				return err
			}
			content = b.Bytes()
		case ".tar":
			content = make([]byte, 1024)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// link makes a picture in the folder of a link, and the link.
func link(root, to, name string) error {
	if err := put(root, filepath.Dir(name)+"/0.png"); err != nil {
		return err
	}
	return os.Symlink(to, filepath.Join(root, name))
}
