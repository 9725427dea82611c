package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/dino-mx/dmx/nn/hf"
	"github.com/dino-mx/dmx/nn/hf/hub"
	"github.com/dino-mx/dmx/ssl/run"
)

// openFlags say how a model file is read where it leaves room for doubt.
type openFlags struct {
	Branch          string `help:"Trunk of a training checkpoint that holds several: a part of the prefix of its names, or a word of it. By default the only trunk, or the only teacher." placeholder:"NAME"`
	Heads           int    `help:"Attention heads of a weight file without a config.json; by default one for 64 channels."`
	Interpolation   string `enum:"default,size,offset,antialias" default:"default" help:"Resampling of positions: size (transformers), offset (Meta's DINO and DINOv2 code) or antialias (timm); by default the rule of the code whose tensor names the file has."`
	AllowMissing    bool   `help:"Accept weights that lack tensors of the model; those start at their initial values."`
	AllowUnexpected bool   `help:"Accept weights with tensors that are not the model's; those are ignored."`
	AllowNonFinite  bool   `help:"Accept weights and features that are NaN or infinite."`
}

// open finds a model on disk, in the Hugging Face cache or on the hub.
func (f *openFlags) open(ctx context.Context, name string, messages io.Writer) (*hf.Checkpoint, error) {
	path, err := fetch(ctx, name, messages)
	if err != nil {
		return nil, err
	}
	o := f.options()
	o.Pooler = true
	return run.OpenModel(path, o)
}

// options says how the file is read.
func (f *openFlags) options() hf.OpenOptions {
	o := hf.OpenOptions{Branch: f.Branch, Heads: f.Heads}
	if f.Interpolation != "default" {
		o.Interpolation = f.Interpolation
	}
	return o
}

// allow says which differences between the file and the model are accepted.
func (f *openFlags) allow() hf.Allow {
	return hf.Allow{Missing: f.AllowMissing, Unexpected: f.AllowUnexpected, NonFinite: f.AllowNonFinite}
}

// fetch turns an id into a folder of the cache and leaves a path as it is.
func fetch(ctx context.Context, name string, messages io.Writer) (string, error) {
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	client, err := hub.FromEnv(os.Getenv)
	if err != nil {
		return "", err
	}
	d := &downloads{w: messages}
	client.Progress = d.show
	defer d.close()
	return client.Resolve(ctx, name)
}

// downloads shows how far files are: a bar on a terminal, a line per finished file elsewhere.
type downloads struct {
	w    io.Writer
	file string
	bar  *progressbar.ProgressBar
}

func (d *downloads) show(file string, done, total int64) {
	f, ok := d.w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		if done == total {
			fmt.Fprintf(d.w, "downloaded %s (%.1f MB)\n", file, float64(total)/1e6)
		}
		return
	}
	if file != d.file {
		d.close()
		d.file = file
		d.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(d.w), progressbar.OptionSetDescription(file), progressbar.OptionShowBytes(true),
			progressbar.OptionSetWidth(20), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	d.bar.Set64(done)
}

func (d *downloads) close() {
	if d.bar != nil {
		d.bar.Clear()
	}
}
