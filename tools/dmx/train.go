package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/dino-mx/dmx/data/source"
	"github.com/dino-mx/dmx/ssl/config"
	"github.com/dino-mx/dmx/ssl/run"
)

type trainCmd struct {
	Config    string   `help:"Recipe or YAML file; without it quickstart." placeholder:"RECIPE|FILE" predictor:"recipe"`
	Data      string   `help:"Folder of images, folder of IDX files, or .npz file." placeholder:"DIR" predictor:"folder"`
	Output    string   `help:"Run folder; without it outputs/<model_name>." placeholder:"DIR" predictor:"folder"`
	Resume    bool     `help:"Go on with the run in the folder from its newest good checkpoint."`
	Seed      *uint64  `help:"Seed of everything random." placeholder:"N"`
	Device    string   `help:"Where to compute: auto, cpu, cuda:N or emulated-cuda." default:"auto" predictor:"device"`
	Overrides []string `arg:"" optional:"" name:"key=value" help:"Changes to the configuration, such as train.lr=0.001."`
}

// Help is shown by dmx train --help.
func (trainCmd) Help() string {
	return "dmx config show --docs explains every key. A run that was interrupted goes on with --resume."
}

// Run trains until the end or until a signal, and prints the accuracies.
func (c *trainCmd) Run(ctx context.Context, io streams) error {
	cfg, err := c.configuration()
	if err != nil {
		return err
	}
	// The first signal asks for a checkpoint and an orderly end; unregistering lets a second one kill.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	shown := newProgress(io.err, cfg)
	o := run.Options{Resume: c.Resume, Device: c.Device, Version: version(), Log: shown.log, Step: shown.step}
	if c.Data != "" {
		o.DataFlag = "--data"
	}
	summary, err := run.Train(ctx, cfg, o)
	shown.close()
	if errors.Is(err, context.Canceled) {
		fmt.Fprintf(io.err, "stopped after step %d of %d; go on with: %s\n", summary.Iterations, cfg.Train.MaxIterations, resumeCommand(cfg))
		return err
	}
	if err != nil {
		return err
	}
	printSummary(io.out, cfg, summary)
	return nil
}

func resumeCommand(cfg *config.Config) string {
	return "dmx train --resume --output " + run.FolderOf(cfg)
}

// configuration resolves flags, files and overrides into the configuration of this run, with the run folder in
// its output keys.
func (c *trainCmd) configuration() (*config.Config, error) {
	var flags []string
	if c.Data != "" {
		data := c.Data
		if !source.Embedded(data) {
			var err error
			if data, err = filepath.Abs(data); err != nil {
				return nil, err
			}
		}
		flags = append(flags, "dataset.dataset_path="+data)
		if c.Config == "" && !c.Resume {
			// The quickstart recipe describes its own grey images; other data says itself what it is.
			flags = append(flags, "model.num_channels=0", "dataset.mean=[]", "dataset.std=[]")
		}
	}
	if c.Seed != nil {
		flags = append(flags, "train.seed="+strconv.FormatUint(*c.Seed, 10))
	}
	if c.Resume {
		return c.resumed(flags)
	}
	name := c.Config
	if name == "" {
		name = "quickstart"
	}
	cfg, err := config.Load(name, append(flags, c.Overrides...)...)
	if err != nil {
		return nil, err
	}
	if c.Output != "" {
		if err := setFolder(cfg, c.Output); err != nil {
			return nil, err
		}
		if held, err := run.Holds(run.FolderOf(cfg)); err != nil {
			return nil, err
		} else if held {
			return nil, fmt.Errorf("--output: %s holds a run; add --resume to go on with it, or give another folder", c.Output)
		}
		return cfg, nil
	}
	return cfg, freeFolder(cfg)
}

// setFolder sets the run folder to path.
func setFolder(cfg *config.Config, path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if filepath.Dir(abs) == abs {
		return fmt.Errorf("--output: %s is the root of the file system; give a folder below it", path)
	}
	cfg.Output.MainOutput, cfg.Train.ModelName = filepath.Dir(abs), filepath.Base(abs)
	return nil
}

// freeFolder numbers the run folder when the name is taken, so that a run never touches another one's files
// unasked.
func freeFolder(cfg *config.Config) error {
	name := cfg.Train.ModelName
	for n := 2; ; n++ {
		held, err := run.Holds(run.FolderOf(cfg))
		if err != nil || !held {
			return err
		}
		cfg.Train.ModelName = fmt.Sprintf("%s-%d", name, n)
	}
}

// resumed returns the stored configuration of the run to go on with, changed by flags and overrides; a --config
// replaces it.
func (c *trainCmd) resumed(flags []string) (*config.Config, error) {
	folder := c.Output
	if folder == "" {
		name := c.Config
		if name == "" {
			name = "quickstart"
		}
		cfg, err := config.Load(name, c.Overrides...)
		if err != nil {
			return nil, err
		}
		if folder, err = newestFolder(cfg); err != nil {
			return nil, err
		}
	}
	held, err := run.Holds(folder)
	if err != nil {
		return nil, err
	}
	if !held {
		return nil, fmt.Errorf("--resume: %s holds no run; check --output, or start without --resume", folder)
	}
	name := c.Config
	if name == "" {
		name = filepath.Join(folder, "config.yaml")
	}
	cfg, err := config.Load(name, append(flags, c.Overrides...)...)
	if err != nil {
		return nil, err
	}
	return cfg, setFolder(cfg, folder)
}

// newestFolder returns the last of name, name-2, name-3, … that holds a run.
func newestFolder(cfg *config.Config) (string, error) {
	name, newest := cfg.Train.ModelName, run.FolderOf(cfg)
	for n := 2; ; n++ {
		held, err := run.Holds(run.FolderOf(cfg))
		if err != nil || !held {
			return newest, err
		}
		newest = run.FolderOf(cfg)
		cfg.Train.ModelName = fmt.Sprintf("%s-%d", name, n)
	}
}
