// Command resume kills a training run again and again with SIGKILL, resumes it each time, and compares its final
// checkpoint with that of a run nobody interrupted, file by file.
//
//	go run -tags cpu ./bench/resume [-kills 20] [-steps 600] [-seed 1]
//
// It exits with code 1 when a file differs. The moments are random in time, so they fall into start-up, steps
// and checkpoint writing alike.
package main

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"time"

	"github.com/dino-mx/dmx/tensor"
)

func main() {
	kills := flag.Int("kills", 20, "how often the run is killed")
	steps := flag.Int("steps", 600, "steps of the run")
	seed := flag.Uint64("seed", 1, "seed of the moments")
	program := flag.String("dmx", "", "built dmx program; without it, it is built from this repository")
	flag.Parse()
	if err := compare(*program, *kills, *steps, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "resume:", err)
		os.Exit(1)
	}
}

func compare(program string, kills, steps int, seed uint64) error {
	dir, err := os.MkdirTemp("", "dmx-resume")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if program == "" {
		program = filepath.Join(dir, "dmx")
		build := exec.Command("go", "build", "-tags", "cpu", "-o", program, "./tools/dmx")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("build: %w", err)
		}
	}
	r := &runner{program: program, steps: steps}

	whole := filepath.Join(dir, "whole")
	start := time.Now()
	if _, err := r.run(whole, false, 0); err != nil {
		return fmt.Errorf("unbroken run: %w", err)
	}
	duration := time.Since(start)
	fmt.Printf("unbroken run: %d steps in %.1f s, %s/%s, %d CPUs\n", steps, duration.Seconds(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())

	// Each life of the broken run lasts a random share of what the whole run would, a tenth on average, so
	// that it neither ends before it was killed often enough nor never gets anywhere.
	broken := filepath.Join(dir, "broken")
	rng := tensor.NewRand(seed, 0, 0, 0)
	killed, lives := 0, 0
	for killed < kills {
		life := time.Duration(rng.Uniform(0.02, 0.18) * float64(duration))
		_, err := os.Stat(filepath.Join(broken, "config.yaml"))
		resume := err == nil
		dead, err := r.run(broken, resume, life)
		if err != nil {
			return fmt.Errorf("life %d: %w", lives+1, err)
		}
		lives++
		if !dead {
			// It finished first: start over, and go on counting.
			if diff, err := differences(whole, broken); err != nil || len(diff) > 0 {
				return report(diff, err)
			}
			fmt.Printf("finished after %d kills, same bits; again from the start\n", killed)
			if err := os.RemoveAll(broken); err != nil {
				return err
			}
			continue
		}
		killed++
		fmt.Printf("kill %2d after %5.2f s (resumed: %v)\n", killed, life.Seconds(), resume)
	}
	if _, err := r.run(broken, true, 0); err != nil {
		return fmt.Errorf("last life: %w", err)
	}
	diff, err := differences(whole, broken)
	if err != nil || len(diff) > 0 {
		return report(diff, err)
	}
	fmt.Printf("%d kills: every file of the final checkpoints is the same\n", killed)
	return nil
}

func report(diff []string, err error) error {
	if err != nil {
		return err
	}
	for _, d := range diff {
		fmt.Println("differs:", d)
	}
	return errors.New("the resumed run is not the unbroken one")
}

type runner struct {
	program string
	steps   int
}

// run starts or resumes training and, when life is not 0, kills it after that time. It reports whether the
// process was killed.
func (r *runner) run(folder string, resume bool, life time.Duration) (killed bool, err error) {
	args := []string{"train", "--output", folder}
	if resume {
		args = append(args, "--resume")
	}
	args = append(args,
		fmt.Sprintf("train.max_iterations=%d", r.steps), fmt.Sprintf("train.warmup_iterations=%d", r.steps/10),
		fmt.Sprintf("train.freeze_last_layer=%d", r.steps/20), fmt.Sprintf("train.saveckp_freq=%d", max(1, r.steps/40)),
		"evaluation.knn=false")
	cmd := exec.Command(r.program, args...)
	log, err := os.OpenFile(folder+".log", os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o666)
	if err != nil {
		return false, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return false, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var timer <-chan time.Time
	if life > 0 {
		timer = time.After(life)
	}
	select {
	case err = <-ended:
	case <-timer:
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return false, err
		}
		if err = <-ended; err != nil {
			return true, nil
		}
	}
	if err != nil {
		text, _ := os.ReadFile(log.Name())
		return false, fmt.Errorf("%w\n%s", err, text[max(0, len(text)-2000):])
	}
	return false, nil
}

// differences lists the files of the newest checkpoints that are not the same in both run folders.
func differences(a, b string) ([]string, error) {
	x, err := digests(a)
	if err != nil {
		return nil, err
	}
	y, err := digests(b)
	if err != nil {
		return nil, err
	}
	var diff []string
	for name := range x {
		if x[name] != y[name] {
			diff = append(diff, name)
		}
	}
	for name := range y {
		if _, ok := x[name]; !ok {
			diff = append(diff, name)
		}
	}
	if len(x) == 0 {
		return nil, errors.New("no checkpoint in " + a)
	}
	sort.Strings(diff)
	return diff, nil
}

// digests hashes every file below the checkpoint folders of a run.
func digests(run string) (map[string][sha256.Size]byte, error) {
	sums := map[string][sha256.Size]byte{}
	for _, dir := range []string{"train_checkpoints", "teacher_checkpoints"} {
		err := filepath.WalkDir(filepath.Join(run, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(run, path)
			if err != nil {
				return err
			}
			sums[name] = sha256.Sum256(text)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return sums, nil
}
