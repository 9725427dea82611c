package ptx

import (
	"encoding/binary"
	"flag"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/tensor"
)

var damaged = flag.Int("damaged", 3000, "how many damaged PTX files TestDamagedText tries")

// runAny checks text as dmx ptx does and runs its kernels a little. Whatever comes back is an answer; a panic is not.
func runAny(src string) {
	mod, mistakes := Check(src)
	if len(mistakes) > 0 {
		return
	}
	m := NewMachine(1 << 20)
	m.MaxInstructions = 2000
	p, err := m.Load(mod)
	if err != nil {
		return // its variables do not fit the memory
	}
	addr, err := m.Alloc(512)
	if err != nil {
		return
	}
	if err := m.Fill(addr, 1, 512); err != nil {
		panic(err)
	}
	for name, k := range mod.Kernels {
		args := make([]byte, k.ParamSize)
		for _, prm := range k.Params {
			if prm.Size == 8 {
				binary.LittleEndian.PutUint64(args[prm.Offset:], addr)
			}
		}
		threads := 40
		if k.MaxNTid > 0 {
			threads = min(k.MaxNTid, 128)
		}
		_ = p.Launch(name, [3]int{2, 1, 1}, [3]int{threads, 1, 1}, 64, args)
	}
}

// word is one of PTX text: a name, number or modifier, a string, a mark.
var word = regexp.MustCompile(`"[^"\n]*"|\.?[\w$%]+(::\w+)*|\S`)

// Text with a few words dropped, doubled, exchanged or replaced is refused with a line, or runs to an end with
// findings or without; it never stops the program.
func TestDamagedText(t *testing.T) {
	t.Parallel()
	type text struct {
		words []string
		from  int // damage goes behind the declarations, which would hide the rest
	}
	var texts []text
	words := []string{"_", "0", "-1", "4294967295", "0x7fffffffffffffff", "4000000000", "100000", ".f64", ".bf16", ".pred", ".b128", ".v4", ".x4", ".shared", "{", "}", "[", "]", "!", "|", "%p1", "%a", "box", "scratch"}
	for op := range opcodes {
		words = append(words, " "+op)
	}
	slices.Sort(words) // the order of a map would change the damage from run to run
	seen := map[string]bool{}
	add := func(src string, from int) {
		x := text{from: from}
		for _, s := range word.FindAllString(src, -1) {
			if s[0] != '.' {
				s = " " + s // a modifier belongs to the word before it, as %tid.x shows
			}
			x.words = append(x.words, s)
			if !seen[s] {
				seen[s] = true
				words = append(words, s)
			}
		}
		texts = append(texts, x)
	}
	add(sound, 0)
	body := len(word.FindAllString(wrap(""), -1)) - 15
	for _, p := range programs {
		add(wrap(p.body), body)
	}
	for _, p := range hopperPrograms {
		add(wrap(p.body), body)
	}
	add(strings.NewReplacer("LOAD", "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r6], [%in, {%x, %y}], [%r5];",
		"STORE", "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%back, {%x, %y}], [%r6];").Replace(copyKernel), 0)
	step := func(int) int { return 0 }
	product := wgmmaCase{n: 8, k: 16, scaleA: 1, scaleB: 1}
	add(product.source(step, step, 2048, 128, 256, 128, 256, 4096), 0)
	for _, row := range alu {
		types := map[string]string{"pred": "%p1", "16": "%h1", "32": "%r1", "64": "%z1", "f": "%f1"}
		var names []string
		for _, typ := range strings.Fields(row.types) {
			names = append(names, types[typ])
		}
		add(wrap("setp.eq.s32 %p1, 1, 1; mov.b16 %h1, 3; mov.b32 %r1, 5; mov.b64 %z1, 7; mov.f32 %f1, 0f3F800000; mov.b64 %y, 0; "+row.op+" "+strings.Join(names, ", ")+";"), body)
	}
	r := tensor.NewRand(5, 0, 0, 1<<24)
	sites := map[string]bool{}
	for range *damaged {
		from := texts[r.Intn(len(texts))]
		text := slices.Clone(from.words)
		for range 1 + r.Intn(3) {
			i := from.from + r.Intn(len(text)-from.from)
			switch r.Intn(5) {
			case 0:
				text = append(text[:i], text[i+1:]...)
			case 1:
				text = append(text[:i+1], text[i:]...)
			case 2:
				j := r.Intn(len(text))
				text[i], text[j] = text[j], text[i]
			default:
				text[i] = words[r.Intn(len(words))]
			}
		}
		src := strings.Join(text, "")
		func() {
			defer func() {
				if e := recover(); e != nil {
					stack := string(debug.Stack())
					at := stack[strings.Index(stack, "panic("):]
					site := ""
					for _, line := range strings.Split(at, "\n") {
						if strings.Contains(line, "/kernels/ptx/") {
							site = line
							break
						}
					}
					if !sites[site] {
						sites[site] = true
						t.Errorf("%v\n%s\n%s", e, src, at)
					}
				}
			}()
			runAny(src)
		}()
	}
}
