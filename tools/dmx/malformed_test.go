package main

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/ssl/config"
	"github.com/dino-mx/dmx/tensor"
)

var malformed = flag.Int("malformed", 24, "how many malformed inputs TestMalformedInputs makes")

// kinds of input, each with what damages it and how the program is asked to read it.
type kind struct {
	name string
	// good writes an undamaged input below dir.
	good func(t *testing.T, dir string)
	// files are those below dir that may be damaged.
	files func(t *testing.T, dir string) []string
	// special are damages that keep the format but break its meaning.
	special []func(r *tensor.Rand, data []byte) []byte
	// read runs the program on dir.
	read func(t *testing.T, dir string) (code int, errOut string)
}

// TestMalformedInputs feeds damaged configurations, images, IDX and npz files and checkpoints to the program, as
// many as the flag says. Every one must end in a clear error: exit code 1, the damaged file's name, no stack
// trace, and a run folder without half-written files. A damage that leaves a good input (a flipped bit in a
// pixel of a format without checksums, another digit in a number) is counted apart and another one is made
// instead.
func TestMalformedInputs(t *testing.T) {
	kinds := []kind{yamlKind(), pngKind(), idxKind("idx", false), idxKind("idx.gz", true), npzKind(t), checkpointKind()}
	rejected, harmless := map[string]int{}, map[string]int{}
	for _, k := range kinds {
		good := t.TempDir()
		k.good(t, good)
		share := *malformed / len(kinds)
		if k.name == "checkpoint" {
			share = *malformed - share*(len(kinds)-1)
		}
		for i := 0; rejected[k.name] < share; i++ {
			if i > 20*share+20 {
				t.Fatalf("%s: only %d of %d damaged inputs were refused", k.name, rejected[k.name], i)
			}
			r := tensor.NewRand(11, uint32(i), crc32.ChecksumIEEE([]byte(k.name)), 1<<26)
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
				t.Fatal(err)
			}
			files := k.files(t, dir)
			file := files[r.Intn(len(files))]
			what := damageFile(t, r, k, filepath.Join(dir, file))
			before := snapshot(t, dir)
			code, errOut := k.read(t, dir)
			id := fmt.Sprintf("%s %d: %s of %s", k.name, i, what, file)
			switch code {
			case 0:
				harmless[k.name]++
				continue
			case 1:
				rejected[k.name]++
			default:
				t.Errorf("%s: exit code %d: %s", id, code, errOut)
			}
			checkError(t, id, file, errOut)
			checkIntact(t, id, dir, before)
			os.RemoveAll(dir)
		}
	}
	total, left := 0, 0
	for _, k := range kinds {
		t.Logf("%-10s %4d refused with a clear error, %3d damages that leave a good input", k.name, rejected[k.name], harmless[k.name])
		total += rejected[k.name]
		left += harmless[k.name]
	}
	t.Logf("%-10s %4d refused, %d left good, 0 panics", "all", total, left)
}

// damageFile changes one file and says how.
func damageFile(t *testing.T, r *tensor.Rand, k kind, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	what := "truncation"
	switch n := r.Intn(3 + len(k.special)); {
	case n == 0:
		data = data[:r.Intn(max(1, len(data)))]
	case n == 1:
		what = "a flipped bit"
		data[r.Intn(len(data))] ^= 1 << r.Intn(8)
	case n == 2:
		what = "noise"
		for range 1 + r.Intn(16) {
			data[r.Intn(len(data))] = byte(r.Intn(256))
		}
	default:
		what = fmt.Sprintf("special damage %d", n-3)
		data = k.special[n-3](r, data)
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	return what
}

var stackTrace = regexp.MustCompile(`goroutine \d+|panic:|runtime error`)

// checkError wants the damaged file's name (or that of a folder around it) and no stack trace.
func checkError(t *testing.T, id, file, errOut string) {
	t.Helper()
	if stackTrace.MatchString(errOut) {
		t.Errorf("%s: stack trace:\n%s", id, errOut)
	}
	named := false
	for part := file; part != "." && part != "/"; part = filepath.Dir(part) {
		named = named || strings.Contains(errOut, filepath.Base(part))
	}
	if !strings.Contains(errOut, "dmx: ") || !named {
		t.Errorf("%s: the error does not name the file:\n%s", id, errOut)
	}
}

// snapshot is the content of every file that was there before the program ran.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[rel] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// checkIntact wants every input file unchanged, no temporary file, and a stored configuration that reads.
func checkIntact(t *testing.T, id, dir string, before map[string]string) {
	t.Helper()
	after := snapshot(t, dir)
	for name, text := range before {
		if name == filepath.Join("run", ".lock") || strings.HasPrefix(name, filepath.Join("run", "log_files")) {
			continue
		}
		if got, ok := after[name]; !ok || got != text {
			t.Errorf("%s: %s was changed (still there: %v)", id, name, ok)
		}
	}
	for name := range after {
		if strings.Contains(filepath.Base(name), ".tmp") || strings.Contains(name, "iter_") && strings.Contains(name, "tmp") {
			t.Errorf("%s: left %s behind", id, name)
		}
	}
	stored := filepath.Join(dir, "run", "config.yaml")
	if _, err := os.Stat(stored); err == nil && before[filepath.Join("run", "config.yaml")] == "" {
		if _, err := config.Load(stored); err != nil {
			t.Errorf("%s: the run folder's configuration: %v", id, err)
		}
	}
}

// trainOn trains the micro model on a data set into dir/run.
func trainOn(t *testing.T, dir, data string, extra ...string) (int, string) {
	t.Helper()
	args := append([]string{"train", "--data", data, "--output", filepath.Join(dir, "run")}, micro...)
	code, _, errOut := dmx(t, append(args, extra...)...)
	return code, errOut
}

func only(files ...string) func(*testing.T, string) []string {
	return func(*testing.T, string) []string { return files }
}

func yamlKind() kind {
	pick := func(r *tensor.Rand, data []byte) (lines [][]byte, i int) {
		lines = bytes.SplitAfter(data, []byte("\n"))
		for {
			if i = r.Intn(len(lines)); bytes.HasPrefix(lines[i], []byte("  ")) {
				return lines, i
			}
		}
	}
	value := func(text string) func(*tensor.Rand, []byte) []byte {
		return func(r *tensor.Rand, data []byte) []byte {
			lines, i := pick(r, data)
			key, _, _ := bytes.Cut(lines[i], []byte(":"))
			lines[i] = append(append([]byte{}, key...), (": " + text + "\n")...)
			return bytes.Join(lines, nil)
		}
	}
	return kind{
		name: "yaml",
		good: func(t *testing.T, dir string) {
			c, err := config.Load("quickstart")
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "run.yaml"), c.YAML(false))
		},
		files: only("run.yaml"),
		special: []func(*tensor.Rand, []byte) []byte{
			value("[1, 2, 3]"), value("{a: 1}"), value("-1e30"), value("nonsense"), value(".nan"),
			func(r *tensor.Rand, data []byte) []byte { // a key twice
				lines, i := pick(r, data)
				lines[i] = append(append([]byte{}, lines[i]...), lines[i]...)
				return bytes.Join(lines, nil)
			},
			func(r *tensor.Rand, data []byte) []byte { // a key that nobody knows
				lines, i := pick(r, data)
				lines[i] = append([]byte("  x"), bytes.TrimLeft(lines[i], " ")...)
				return bytes.Join(lines, nil)
			},
		},
		// A damage that leaves a valid configuration would start a long run, so it is checked first; what is
		// refused there goes through the training command too.
		read: func(t *testing.T, dir string) (int, string) {
			file := filepath.Join(dir, "run.yaml")
			code, _, first := dmx(t, "config", "validate", file)
			if code == 0 {
				return 0, ""
			}
			code, _, errOut := dmx(t, "train", "--config", file, "--output", filepath.Join(dir, "run"))
			if diff := cmp.Diff(first, errOut); diff != "" {
				t.Errorf("validate and train disagree: %s", diff)
			}
			if _, err := os.Stat(filepath.Join(dir, "run")); err == nil {
				t.Error("a run folder was made for a refused configuration")
			}
			return code, errOut
		},
	}
}

func pngKind() kind {
	// header rewrites IHDR (width, height, bit depth, colour type) with a correct checksum.
	header := func(change func(ihdr []byte)) func(*tensor.Rand, []byte) []byte {
		return func(_ *tensor.Rand, data []byte) []byte {
			change(data[16:29])
			binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
			return data
		}
	}
	return kind{
		name: "png",
		good: func(t *testing.T, dir string) { tiny.pngFolder(t, filepath.Join(dir, "data")) },
		files: func(t *testing.T, dir string) []string {
			var files []string
			for i := range tiny.count {
				files = append(files, filepath.Join("data", "train", fmt.Sprintf("class%d", tiny.label(i)), fmt.Sprintf("%02d.png", i)))
			}
			return files
		},
		special: []func(*tensor.Rand, []byte) []byte{
			header(func(h []byte) { binary.BigEndian.PutUint32(h, 0) }),
			header(func(h []byte) { binary.BigEndian.PutUint32(h, 1<<30); binary.BigEndian.PutUint32(h[4:], 1<<30) }),
			header(func(h []byte) { binary.BigEndian.PutUint32(h[4:], 1000) }),
			header(func(h []byte) { h[9] = 5 }),
			func(*tensor.Rand, []byte) []byte { return nil },
			func(*tensor.Rand, []byte) []byte { return []byte("this is not an image\n") },
		},
		read: func(t *testing.T, dir string) (int, string) {
			return trainOn(t, dir, filepath.Join(dir, "data"), "dataset.max_unreadable_share=0")
		},
	}
}

func idxKind(name string, zipped bool) kind {
	suffix := ""
	if zipped {
		suffix = ".gz"
	}
	k := kind{
		name: name,
		good: func(t *testing.T, dir string) { tiny.idxFolder(t, filepath.Join(dir, "data"), zipped) },
		files: only(filepath.Join("data", "train-images-idx3-ubyte"+suffix), filepath.Join("data", "train-labels-idx1-ubyte"+suffix),
			filepath.Join("data", "t10k-images-idx3-ubyte"+suffix), filepath.Join("data", "t10k-labels-idx1-ubyte"+suffix)),
		read: func(t *testing.T, dir string) (int, string) { return trainOn(t, dir, filepath.Join(dir, "data")) },
	}
	if !zipped {
		k.special = []func(*tensor.Rand, []byte) []byte{
			func(r *tensor.Rand, data []byte) []byte { // another count
				binary.BigEndian.PutUint32(data[4:], uint32(r.Intn(1<<31)))
				return data
			},
			func(r *tensor.Rand, data []byte) []byte { // another number of dimensions
				data[3] = byte(r.Intn(256))
				return data
			},
			func(r *tensor.Rand, data []byte) []byte { // another element type
				data[2] = byte(9 + r.Intn(6))
				return data
			},
			func(*tensor.Rand, []byte) []byte { return nil },
		}
	}
	return k
}

func npzKind(t *testing.T) kind {
	claims := func(shape ...int) func(*tensor.Rand, []byte) []byte {
		return func(*tensor.Rand, []byte) []byte { return tiny.npzShaped(t, shape...) }
	}
	return kind{
		name:    "npz",
		good:    func(t *testing.T, dir string) { write(t, filepath.Join(dir, "data.npz"), tiny.npz(t)) },
		files:   only("data.npz"),
		special: []func(*tensor.Rand, []byte) []byte{claims(12, 16), claims(6, 16, 16), claims(-1, 16, 16), claims(12), claims(12, 16, 16, 16), claims(1<<40, 1<<40, 16)},
		read: func(t *testing.T, dir string) (int, string) {
			return trainOn(t, dir, filepath.Join(dir, "data.npz"))
		},
	}
}

// checkpointKind damages a run's only checkpoint, then resumes.
func checkpointKind() kind {
	return kind{
		name: "checkpoint",
		good: func(t *testing.T, dir string) {
			tiny.idxFolder(t, filepath.Join(dir, "data"), false)
			if code, errOut := trainOn(t, dir, filepath.Join(dir, "data"), "train.saveckp_freq=0", "evaluation.knn=false"); code != 0 {
				t.Fatalf("code %d: %s", code, errOut)
			}
		},
		files: func(t *testing.T, dir string) []string {
			var files []string
			base := filepath.Join(dir, "run", "train_checkpoints")
			err := filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					rel, _ := filepath.Rel(dir, path)
					files = append(files, rel)
				}
				return err
			})
			if err != nil || len(files) == 0 {
				t.Fatalf("no checkpoint files: %v", err)
			}
			return files
		},
		special: []func(*tensor.Rand, []byte) []byte{
			func(*tensor.Rand, []byte) []byte { return nil },
			func(_ *tensor.Rand, data []byte) []byte { return append(data, 0) },
		},
		read: func(t *testing.T, dir string) (int, string) {
			code, _, errOut := dmx(t, "train", "--resume", "--output", filepath.Join(dir, "run"),
				"dataset.dataset_path="+filepath.Join(dir, "data"), "train.max_iterations=6")
			return code, errOut
		},
	}
}
