package main

import (
	"fmt"
	"os/exec"
	"strings"

	"github.com/dino-mx/dmx/bench/peer"
)

// table is the Markdown of one section.
type table struct {
	title string
	text  strings.Builder
}

func (t *table) printf(format string, args ...any) { fmt.Fprintf(&t.text, format, args...) }

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
