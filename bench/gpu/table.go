package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/bench/peer"
)

// table is the Markdown of one section. Every finished line is printed and written to the section's file at once, so that
// a run that is cut off leaves what it has measured.
type table struct {
	title string
	head  string   // machine, card and command
	peers []string // names of the programs that dmx is compared with
	text  strings.Builder
	path  string // of the section's file; empty for none
	shown int    // bytes of text that have been printed
}

// printf adds text to the table.
func (t *table) printf(format string, args ...any) {
	fmt.Fprintf(&t.text, format, args...)
	text := t.text.String()
	if end := strings.LastIndexByte(text, '\n') + 1; end > t.shown {
		if t.shown == 0 {
			fmt.Print(t.title + t.head)
		}
		fmt.Print(text[t.shown:end])
		t.shown = end
		t.save()
	}
}

// against notes a program that dmx is compared with.
func (t *table) against(name string) {
	if !slices.Contains(t.peers, name) {
		t.peers = append(t.peers, name)
		fmt.Printf("- Against: %s\n", name)
	}
}

// save writes the file of the section; an error is reported and does not end the measurement.
func (t *table) save() {
	if t.path == "" {
		return
	}
	all := t.title + t.head
	for _, p := range t.peers {
		all += "- Against: " + p + "\n"
	}
	if err := os.WriteFile(t.path, []byte(all+t.text.String()), 0o666); err != nil {
		log.Print(err)
	}
}

// head names the machine, the card and the command.
func (b *bench) head() (string, error) {
	g, err := b.open(versions{})
	if err != nil {
		return "", err
	}
	defer g.close()
	i := g.driver.Info()
	card := fmt.Sprintf("- Card: %s, compute capability %d.%d, %d multiprocessors, L2 %d MiB, %d GiB; CUDA driver %d.%d\n",
		i.Name, i.Major, i.Minor, i.SMs, i.L2Bytes>>20, i.TotalMemory>>30, i.DriverVersion/1000, i.DriverVersion%1000/10)
	if out, err := exec.Command("nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,clocks.max.mem,power.limit", "--format=csv,noheader").Output(); err == nil {
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		card += fmt.Sprintf("- nvidia-smi (driver, largest clocks, power limit): %s\n", first)
	}
	return peer.Machine() + card + fmt.Sprintf("- Command: `outputs/gpu/bench %s`\n", peer.ShownArgs()), nil
}
