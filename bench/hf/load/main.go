// Command load measures how fast a large model becomes ready to compute, and the memory that takes beyond the
// weights themselves, against safetensors and PyTorch.
//
//	go run -tags cpu ./bench/hf/load --python PYTHON --out bench/hf/load.md
//
// The model is the first blocks of a ViT-g of DINOv2 (width 1536, SwiGLU of 4096) with random weights, enough of them
// for a file of 1.1 GB. Every load is a process of its own on a file in the page cache; the sides take turns, round
// by round, and the figures are medians. Memory is the peak of the resident set during the load, less what the
// process held before, less the weights.
package main

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/dino-mx/dmx/bench/peer"
	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/hf"
	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

//go:embed peers/torch.py
var torchSource string

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench/hf/load: ")
	out := flag.String("out", "", "file to write the table to, beside standard output")
	python := flag.String("python", os.Getenv("PYTHON"), "a Python with torch, safetensors and transformers (default $PYTHON)")
	rounds := flag.Int("rounds", 7, "loads of each side")
	models := flag.String("models", "", "folder to keep the models in for another call; by default they are removed")
	one := flag.String("one", "", "load the model of this folder once and print the figures (the program calls itself so)")
	flag.Parse()
	var err error
	if *one != "" {
		err = loadOnce(os.Stdout, *one)
	} else {
		err = run(*out, *python, *models, *rounds)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(out, python, models string, rounds int) error {
	if python == "" {
		return errors.New("no --python and no $PYTHON")
	}
	dir, err := os.MkdirTemp("", "dmx-bench-load")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if models == "" {
		models = dir
	}
	script := filepath.Join(dir, "peer.py")
	if err := os.WriteFile(script, []byte(torchSource), 0o644); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	threads := strconv.Itoa(runtime.GOMAXPROCS(0))
	versions, err := answer(python, script, dir, "version", threads)
	if err != nil {
		return err
	}
	var tables strings.Builder
	for _, c := range []struct {
		dtype  safetensors.DType
		blocks int
	}{{safetensors.F32, 10}, {safetensors.BF16, 20}} {
		folder := filepath.Join(models, c.dtype.String())
		if _, err := os.Stat(filepath.Join(folder, hf.ConfigFile)); err != nil {
			if err := write(folder, c.dtype, c.blocks); err != nil {
				return err
			}
		}
		sides := []*side{{name: "dmx", command: []string{self, "-one", folder}}}
		for _, way := range []string{"copied", "from_pretrained", "mapped"} {
			sides = append(sides, &side{name: way, command: []string{python, script, folder, way, threads}})
		}
		for range max(rounds, 1) {
			for _, s := range sides {
				if err := s.load(); err != nil {
					return err
				}
			}
		}
		if err := writeTable(&tables, folder, c.dtype, c.blocks, sides); err != nil {
			return err
		}
	}
	head := "# Loading a large model\n\n" + peer.Machine() +
		fmt.Sprintf("- Command: `go run -tags cpu ./bench/hf/load -rounds %d`; %s threads\n- Peers: %s\n", rounds, threads, versions) +
		"\ndmx, copied and from_pretrained end with f32 weights in memory of their own: copied is `load_file` and a copy of every tensor into\n" +
		"an empty parameter, as load_state_dict does; from_pretrained is `AutoModel.from_pretrained`. mapped is `load_file` alone with\n" +
		"every page touched once: the weights keep the file's type and stay views of the mapped file.\n"
	text := head + tables.String()
	fmt.Print(text)
	if out == "" {
		return nil
	}
	return os.WriteFile(out, []byte(text), 0o644)
}

// write makes a folder with the blocks of a ViT-g with random weights.
func write(folder string, dtype safetensors.DType, blocks int) error {
	backend := cpu.New(cpu.Options{})
	defer backend.Close()
	config, err := hf.ParseConfig(fmt.Appendf(nil, `{"model_type":"dinov2","hidden_size":1536,"num_hidden_layers":%d,
		"num_attention_heads":24,"image_size":518,"patch_size":14,"use_swiglu_ffn":true}`, blocks))
	if err != nil {
		return err
	}
	v, err := nn.Builder{Backend: backend, DType: tensor.F32}.NewViT(config.ViTConfig)
	if err != nil {
		return err
	}
	v.Params.Init(backend, 1, func(*nn.Param) bool { return true })
	return hf.Save(folder, v, backend, config, nil, hf.SaveOptions{DType: dtype})
}

// loadOnce loads a model and prints seconds, bytes of weights, and the peak of resident memory above the start.
func loadOnce(w io.Writer, folder string) error {
	backend := cpu.New(cpu.Options{})
	defer backend.Close()
	b := nn.Builder{Backend: backend, DType: tensor.F32}
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // the peak starts again
		return err
	}
	before, err := peer.PeakMemory(os.Getpid())
	if err != nil {
		return err
	}
	start := time.Now()
	c, err := hf.Open(folder, hf.OpenOptions{})
	if err != nil {
		return err
	}
	defer c.Close()
	v, _, err := c.Build(b, hf.Allow{})
	if err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	after, err := peer.PeakMemory(os.Getpid())
	if err != nil {
		return err
	}
	n, _ := v.Params.Count()
	fmt.Fprintln(w, seconds, 4*n, after-before)
	runtime.KeepAlive(v)
	return nil
}

// side is one way to load and what its loads took.
type side struct {
	name           string
	command        []string
	seconds, extra []float64
	weights        float64
}

func (s *side) load() error {
	a, err := answer(s.command...)
	if err != nil {
		return err
	}
	var seconds, weights, peak float64
	if _, err := fmt.Sscan(a, &seconds, &weights, &peak); err != nil {
		return fmt.Errorf("%s: answered %q", s.name, a)
	}
	s.seconds, s.extra, s.weights = append(s.seconds, seconds), append(s.extra, peak-weights), weights
	return nil
}

// answer runs a command and returns the last line it prints.
func answer(command ...string) (string, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env, cmd.Stderr = append(os.Environ(), peer.PythonEnv), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(command, " "), err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1], nil
}
