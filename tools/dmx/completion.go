package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCmd prints what makes a shell ask dmx for completions; the answers come from kongplete in execute.
type completionCmd struct {
	Shell string `arg:"" optional:"" help:"bash, zsh or fish; without it the shell of $$SHELL."`
}

// Help is shown by dmx completion --help.
func (completionCmd) Help() string {
	return `For bash: echo 'eval "$(dmx completion bash)"' >> ~/.bashrc`
}

// Run prints the shell's lines.
func (c *completionCmd) Run(k *kong.Context, io streams) error {
	shell := c.Shell
	if shell == "" {
		shell = filepath.Base(os.Getenv("SHELL"))
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("where this program lies: %w", err)
	}
	quoted := "'" + strings.ReplaceAll(program, "'", `'\''`) + "'"
	switch shell {
	case "bash":
		fmt.Fprintf(io.out, "complete -C %s %s\n", quoted, k.Model.Name)
	case "zsh":
		fmt.Fprintf(io.out, "autoload -U +X bashcompinit && bashcompinit\ncomplete -C %s %s\n", quoted, k.Model.Name)
	case "fish":
		fmt.Fprintf(io.out, `function __complete_%[1]s
    set -lx COMP_LINE (commandline -cp)
    test -z (commandline -ct)
    and set COMP_LINE "$COMP_LINE "
    %[2]s
end
complete -f -c %[1]s -a "(__complete_%[1]s)"
`, k.Model.Name, quoted)
	default:
		return usageError{fmt.Errorf("no completion for the shell %q; give bash, zsh or fish", shell)}
	}
	return nil
}
