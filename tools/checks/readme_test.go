package checks

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// readmeCommands lists the command lines of the README's shell blocks.
func readmeCommands(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, block := range shellBlock.FindAllStringSubmatch(string(text), -1) {
		for _, line := range strings.Split(block[1], "\n") {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// Every dmx command and flag in the README is one that dmx --help knows, and every file it names exists.
func TestReadmeCommandsExist(t *testing.T) {
	commands := readmeCommands(t)
	if len(commands) < 5 {
		t.Fatalf("only %d commands found", len(commands))
	}
	program := filepath.Join(t.TempDir(), "dmx")
	build := exec.Command("go", "build", "-tags", "cpu", "-o", program, "./tools/dmx")
	build.Dir = root(t)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, line := range commands {
		words := strings.Fields(line)
		for i, w := range words {
			if strings.HasPrefix(w, "./") && w != "./dmx" && w != "./..." {
				if _, err := os.Stat(filepath.Join(root(t), w)); err != nil {
					t.Errorf("%s: %v", line, err)
				}
			}
			if w == "./dmx" || w == "./tools/dmx" && words[0] == "go" && words[1] == "run" {
				checkDmx(t, program, line, words[i+1:])
				if words[i+1] == "ptx" {
					runDmx(t, program, line, words[i+1:])
				}
				break
			}
		}
	}
}

// checkDmx asks the program for the help of the command in args and looks for its flags there.
func checkDmx(t *testing.T, program, line string, args []string) {
	t.Helper()
	var path []string
	for _, a := range args {
		if strings.HasPrefix(a, "-") || strings.ContainsAny(a, "=./") || a == strings.ToUpper(a) {
			break
		}
		path = append(path, a)
	}
	out, err := exec.Command(program, append(path, "--help")...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: dmx %s --help: %v\n%s", line, strings.Join(path, " "), err, out)
		return
	}
	for _, a := range args {
		if strings.HasPrefix(a, "--") && !strings.Contains(string(out), a) {
			t.Errorf("%s: dmx %s has no flag %s", line, strings.Join(path, " "), a)
		}
	}
}

// runDmx runs a command that needs nothing but the repository.
func runDmx(t *testing.T, program, line string, args []string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", line, err, out)
	}
}

// The recipes that the README calls by name, and its test command, are what it says.
func TestReadmeTestCommandIsTheOneCIRuns(t *testing.T) {
	ci, err := os.ReadFile(filepath.Join(root(t), ".ci", "run"))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, line := range readmeCommands(t) {
		if strings.HasPrefix(line, "go test ") {
			found = true
			if !strings.Contains(string(ci), line) {
				t.Errorf(".ci/run does not run %q", line)
			}
		}
	}
	if !found {
		t.Error("the README has no test command")
	}
}
