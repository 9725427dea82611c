// Command layouts reads 200 arrangements of folders (splits, names of classes, strays, links, odd names) with dmx and
// with torchvision's ImageFolder, and prints a Markdown table of where they agree. It fails if an image or a class
// differs and dmx does not say so.
//
//	go run -tags cpu ./bench/layouts --python PYTHON --out bench/layouts.md
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/dino-mx/dmx/bench/peer"
)

//go:embed peers/imagefolder.py
var imageFolderSource string

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench/layouts: ")
	out := flag.String("out", "", "file to write the table to, beside standard output")
	python := flag.String("python", os.Getenv("PYTHON"), "a Python with torchvision (default $PYTHON)")
	flag.Parse()
	if err := run(*out, *python); err != nil {
		log.Fatal(err)
	}
}

func run(out, python string) error {
	dir, err := os.MkdirTemp("", "dmx-bench-layouts")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p, err := peer.StartPython(dir, python, imageFolderSource, nil)
	if err != nil {
		return err
	}
	defer p.Close()
	verdicts := []string{same, named, asked, alone, differs}
	counts := map[string]int{}
	var rows, wrong strings.Builder
	for i, s := range shapes {
		of := map[string]int{}
		for k, c := range changes {
			root := filepath.Join(dir, fmt.Sprintf("%d-%d", i, k))
			if err := build(root, s, c); err != nil {
				return fmt.Errorf("%s, %s: %w", s.name, c.name, err)
			}
			verdict, err := judge(p, root, s)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", s.name, c.name, err)
			}
			kind, text, bad := strings.Cut(verdict, ": ")
			if bad {
				fmt.Fprintf(&wrong, "- %s, %s: %s\n", s.name, c.name, strings.ReplaceAll(text, dir, ""))
			}
			of[kind]++
			counts[kind]++
		}
		fmt.Fprintf(&rows, "| %s |", s.name)
		for _, v := range verdicts {
			fmt.Fprintf(&rows, " %d |", of[v])
		}
		rows.WriteByte('\n')
	}
	var t strings.Builder
	fmt.Fprintf(&t,
		"# Layouts of folders beside torchvision's ImageFolder\n\n%s- Command: `go run -tags cpu ./bench/layouts %s`\n",
		peer.Machine(), peer.ShownArgs())
	fmt.Fprintf(&t, "- %d layouts: %d arrangements, each with %d additions that people and their systems make; %s.\n",
		len(shapes)*len(changes), len(shapes), len(changes), p.Name)
	t.WriteString("  ImageFolder is given the path itself, or its training split where there are splits.\n\n| arrangement |")
	for _, v := range verdicts {
		t.WriteString(" " + v + " |")
	}
	t.WriteString("\n|---|" + strings.Repeat("---:|", len(verdicts)) + "\n" + rows.String() + "| all |")
	for _, v := range verdicts {
		fmt.Fprintf(&t, " %d |", counts[v])
	}
	t.WriteString("\n\nThe additions: ")
	for i, c := range changes {
		if i > 0 {
			t.WriteString("; ")
		}
		t.WriteString(c.name)
	}
	t.WriteString(".\n")
	if wrong.Len() > 0 {
		t.WriteString("\n" + wrong.String())
	}
	if _, err := io.WriteString(os.Stdout, t.String()); err != nil {
		return err
	}
	if out != "" {
		if err := os.WriteFile(out, []byte(t.String()), 0o644); err != nil {
			return err
		}
	}
	if n := counts[differs]; n > 0 {
		return fmt.Errorf("%d layouts are read in another way without a word", n)
	}
	return nil
}
