package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
	"github.com/posener/complete"
	"github.com/willabides/kongplete"

	"github.com/dino-mx/dmx/ssl/config"
	"github.com/dino-mx/dmx/tools/dmx/limits"
)

// commands is the command line.
type commands struct {
	Train      trainCmd      `cmd:"" help:"Train a model; without arguments, the quickstart recipe on embedded images."`
	KNN        knnCmd        `cmd:"" name:"knn" help:"Classify images by the nearest neighbours of their features."`
	Model      modelCmd      `cmd:"" help:"Inspect, convert and compare model files."`
	Adapter    adapterCmd    `cmd:"" help:"Merge and extract LoRA adapters."`
	Embed      embedCmd      `cmd:"" help:"Write the features of images to a file."`
	Config     configCmd     `cmd:"" help:"Print or check a configuration."`
	PTX        ptxCmd        `cmd:"" name:"ptx" help:"Check, run and measure NVIDIA PTX kernels without a GPU."`
	Doctor     doctorCmd     `cmd:"" help:"Say what this machine offers: CPU features, kernels, measured peak, GPU."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
	Completion completionCmd `cmd:"" help:"Print or install the shell's completion."`
}

// streams are the outputs of a command: results go to out, messages to err.
type streams struct {
	out, err io.Writer
}

// usageError is a mistake in the arguments that kong cannot see; it ends the program with code 2.
type usageError struct{ error }

func main() {
	code, supervised := limits.Supervise()
	if !supervised {
		code = execute(context.Background(), os.Args[1:], streams{os.Stdout, os.Stderr})
	}
	os.Exit(code)
}

// mistakes lists the errors that get a line each: those of a configuration, or err alone.
func mistakes(err error) []error {
	var list config.Errors
	if !errors.As(err, &list) || err.Error() != list.Error() {
		return []error{err}
	}
	each := make([]error, len(list))
	for i, e := range list {
		each[i] = e
	}
	return each
}

// written is a writer that remembers its first error, and writes nothing after it.
type written struct {
	w   io.Writer
	err error
}

func (w *written) Write(p []byte) (int, error) {
	if w.err == nil {
		_, w.err = w.w.Write(p)
	}
	return len(p), nil
}

// exit carries the code of kong's own endings (help) out of its parser.
type exit int

// execute runs a command line and returns the exit code. A result that could not be written is an error of
// its own: whoever reads standard output must not take half of it for all.
func execute(ctx context.Context, args []string, io streams) (code int) {
	out := &written{w: io.out}
	io.out = out
	defer func() {
		if r := recover(); r != nil {
			c, ok := r.(exit)
			if !ok {
				panic(r)
			}
			code = int(c)
		}
		if out.err != nil && code == 0 {
			fmt.Fprintf(io.err, "dmx: standard output: %v\n", out.err)
			code = 1
		}
	}()
	var c commands
	parser, err := kong.New(&c,
		kong.Name("dmx"),
		kong.Description("Self-supervised training of vision transformers (DINO, DINOv2, DINOv3) without Python."),
		kong.Writers(io.out, io.err),
		kong.Exit(func(code int) { panic(exit(code)) }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(io),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.UsageOnError(),
	)
	if err != nil {
		panic(err) // the command structs are part of the program
	}
	kongplete.Complete(parser, kongplete.WithPredictors(map[string]complete.Predictor{
		"recipe": complete.PredictOr(complete.PredictSet(config.Recipes()...), complete.PredictFiles("*.yaml")),
		"folder": complete.PredictDirs("*"),
		"device": complete.PredictSet("auto", "cpu", "cuda:0", "emulated-cuda"),
	}))
	command, err := parser.Parse(overridesLast(args))
	if err != nil {
		fmt.Fprintf(io.err, "dmx: %v\nTry: dmx --help\n", err)
		return 2
	}
	err = command.Run()
	if errors.Is(err, context.Canceled) {
		err = errors.New("stopped by a signal")
	}
	if err != nil {
		for _, mistake := range mistakes(err) {
			fmt.Fprintf(io.err, "dmx: %v\n", mistake)
		}
		if errors.As(err, new(usageError)) {
			return 2
		}
		return 1
	}
	return 0
}
