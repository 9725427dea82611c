// Command load measures how fast a large model becomes ready to compute, and the memory that takes beyond the
// weights themselves, against safetensors and PyTorch.
//
//	go run -tags cpu ./bench/hf/load --python PYTHON --out bench/hf/load.md
//
// The model is the first blocks of a ViT-g of DINOv2 (width 1536, SwiGLU of 4096) with random weights, enough of them
// for a file of 1.1 GB. Every load is a process of its own on a file in the page cache; the sides take turns, round
// by round, and the figures are medians. Sides are compared that end in the same state. Memory is the peak of the
// resident set during the load, less what the process held before, less the weights.
package main

import (
	"bufio"
	"cmp"
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
	"sync"
	"sync/atomic"
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
	views := flag.Bool("views", false, "with -one: leave the weights in the file")
	flag.Parse()
	var err error
	if *one != "" {
		err = loadOnce(os.Stdout, *one, *views)
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
	text := "# Loading a large model\n\n" + peer.Machine() +
		fmt.Sprintf("- Command: `go run -tags cpu ./bench/hf/load -rounds %d`; %s threads\n- Peers: %s\n", rounds, threads, versions) +
		"\nSides are compared that end in the same state. Own memory: f32 weights that belong to the process and can be trained;\n" +
		"`load_file` and copy copies every tensor into an empty parameter, as load_state_dict does. Views: the weights lie in the\n" +
		"mapped file, and one byte of every page has been read. from_pretrained is `AutoModel.from_pretrained` with dtype float32,\n" +
		"which keeps views of an f32 file. Before each load as much memory as it takes is given free, so that the time a virtual\n" +
		"machine's host takes to hand out memory is no part of it.\n"
	fmt.Print(text)
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
		st, err := os.Stat(filepath.Join(folder, safetensors.ModelFile))
		if err != nil {
			return err
		}
		file := int(st.Size())
		weights := file * 32 / c.dtype.Bits()
		peer := func(name, way, state string, needs int) *side {
			return &side{name: name, state: state, needs: needs, command: []string{python, script, folder, way, threads}}
		}
		sides := []*side{
			{name: "dmx", state: own, needs: weights, command: []string{self, "-one", folder}},
			peer("load_file and copy", "copied", own, weights),
		}
		if c.dtype == safetensors.F32 {
			sides = append(sides,
				&side{name: "dmx", state: mapped, command: []string{self, "-one", folder, "-views"}},
				peer("load_file", "mapped", mapped, 0), peer("from_pretrained", "from_pretrained", mapped, 0))
		} else {
			sides = append(sides, peer("from_pretrained", "from_pretrained", own, weights+file))
		}
		var spare reserve
		for range max(rounds, 1) {
			// All start, and prepare themselves, at once; then one after the other loads while the others sleep.
			for _, s := range sides {
				if err := s.start(); err != nil {
					return err
				}
			}
			for _, s := range sides {
				if err := s.prepared(); err != nil {
					return err
				}
			}
			for _, s := range sides {
				if err := spare.fill(s.needs); err != nil {
					return err
				}
				if err := s.load(&spare); err != nil {
					return err
				}
				if err := spare.fill(s.needs); err != nil { // at once, before the host has it
					return err
				}
			}
		}
		if err := spare.release(weights + file); err != nil {
			return err
		}
		var table strings.Builder
		writeTable(&table, st.Size(), c.dtype, c.blocks, sides)
		fmt.Print(table.String())
		text += table.String()
	}
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

// loadOnce says that it is ready, waits for a line, loads a model and prints seconds, bytes of weights, the peak of
// resident memory above the start, and the growth of memory that is the process's own.
func loadOnce(w io.Writer, folder string, views bool) error {
	backend := cpu.New(cpu.Options{})
	defer backend.Close()
	b := nn.Builder{Backend: backend, DType: tensor.F32}
	fmt.Fprintln(w, ready)
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // the peak starts again
		return err
	}
	before, err := peer.PeakMemory(os.Getpid())
	if err != nil {
		return err
	}
	ownBefore, err := ownMemory()
	if err != nil {
		return err
	}
	start := time.Now()
	c, err := hf.Open(folder, hf.OpenOptions{})
	if err != nil {
		return err
	}
	defer c.Close()
	build := c.Build
	if views {
		build = c.BuildViews
	}
	v, _, err := build(b, hf.Allow{})
	if err != nil {
		return err
	}
	if views {
		touch(v)
	}
	seconds := time.Since(start).Seconds()
	after, err := peer.PeakMemory(os.Getpid())
	if err != nil {
		return err
	}
	ownAfter, err := ownMemory()
	if err != nil {
		return err
	}
	n, _ := v.Params.Count()
	fmt.Fprintln(w, seconds, 4*n, after-before, ownAfter-ownBefore)
	runtime.KeepAlive(v)
	return nil
}

// touch reads one byte of every page of the parameters, as the first use of the model would.
func touch(v *nn.ViT) {
	var wait sync.WaitGroup
	var next atomic.Int64
	params := v.Params.All()
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			sum := byte(0)
			for i := int(next.Add(1)) - 1; i < len(params); i = int(next.Add(1)) - 1 {
				for b := params[i].Value().Bytes(); len(b) > 0; b = b[min(len(b), 4096):] {
					sum += b[0]
				}
			}
			runtime.KeepAlive(sum)
		})
	}
	wait.Wait()
}

// ownMemory is the resident memory of this process that no file stands behind, in bytes.
func ownMemory() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			var kib int64
			_, err := fmt.Sscan(rest, &kib)
			return kib << 10, err
		}
	}
	return 0, errors.New("/proc/self/status has no RssAnon")
}

// The states that loads end in.
const (
	own    = "own memory"
	mapped = "views"
)

// ready is what a side prints when it has prepared everything that is not loading.
const ready = "ready"

// side is one way to load and what its loads took.
type side struct {
	name, state    string
	command        []string
	needs          int // bytes of memory that the load takes anew
	seconds, extra []float64
	weights        float64
	own            []float64 // memory of the process's own at the end

	process *exec.Cmd // of this round
	in      io.Writer
	out     *bufio.Scanner
}

func (s *side) start() error {
	s.process = exec.Command(s.command[0], s.command[1:]...)
	s.process.Env, s.process.Stderr = append(os.Environ(), peer.PythonEnv), os.Stderr
	in, err := s.process.StdinPipe()
	if err != nil {
		return err
	}
	out, err := s.process.StdoutPipe()
	if err != nil {
		return err
	}
	s.in, s.out = in, bufio.NewScanner(out)
	return s.fail(s.process.Start())
}

// prepared waits until the side is ready to load.
func (s *side) prepared() error {
	for s.out.Scan() {
		if s.out.Text() == ready {
			return nil
		}
	}
	return s.fail(cmp.Or(s.out.Err(), s.process.Wait(), errors.New("ended before it was ready")))
}

// load gives the side the spare memory, has it load, and reads its figures.
func (s *side) load(spare *reserve) error {
	if err := spare.release(s.needs); err != nil {
		return err
	}
	if _, err := io.WriteString(s.in, "go\n"); err != nil {
		return s.fail(err)
	}
	last := ""
	for s.out.Scan() {
		last = s.out.Text()
	}
	if err := s.process.Wait(); err != nil {
		return s.fail(err)
	}
	var seconds, weights, peak, own float64
	if _, err := fmt.Sscan(last, &seconds, &weights, &peak, &own); err != nil {
		return s.fail(fmt.Errorf("answered %q", last))
	}
	s.seconds, s.extra, s.own, s.weights = append(s.seconds, seconds), append(s.extra, peak-weights), append(s.own, own), weights
	return nil
}

func (s *side) fail(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", strings.Join(s.command, " "), err)
}

// answer runs a command and returns what it prints.
func answer(command ...string) (string, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env, cmd.Stderr = append(os.Environ(), peer.PythonEnv), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(command, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
