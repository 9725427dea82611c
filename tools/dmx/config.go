package main

import (
	"fmt"

	"github.com/dino-mx/dmx/ssl/config"
)

type configCmd struct {
	Show     configShowCmd     `cmd:"" help:"Print the complete configuration of a recipe or file."`
	Validate configValidateCmd `cmd:"" help:"Check a recipe or file and say what is wrong with it."`
}

type configShowCmd struct {
	Config    string   `help:"Recipe or YAML file; without it the defaults." placeholder:"RECIPE|FILE" predictor:"recipe"`
	Docs      bool     `help:"Say above each key what it does and takes."`
	Overrides []string `arg:"" optional:"" name:"key=value" help:"Changes, such as train.lr=0.001."`
}

// Run prints the resolved configuration.
func (c configShowCmd) Run(io streams) error {
	cfg, err := config.Load(c.Config, c.Overrides...)
	if err != nil {
		return err
	}
	_, err = io.out.Write(cfg.YAML(c.Docs))
	return err
}

type configValidateCmd struct {
	Config    string   `arg:"" help:"Recipe or YAML file." predictor:"recipe"`
	Overrides []string `arg:"" optional:"" name:"key=value" help:"Changes, such as train.lr=0.001."`
}

// Run says that the configuration is good, or returns every mistake.
func (c configValidateCmd) Run(io streams) error {
	if _, err := config.Load(c.Config, c.Overrides...); err != nil {
		return err
	}
	fmt.Fprintf(io.out, "%s: good\n", c.Config)
	return nil
}
