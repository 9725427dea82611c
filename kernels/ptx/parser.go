package ptx

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Parse reads a PTX file. Errors name the line and what was expected.
func Parse(src string) (*Module, error) {
	toks, err := lex(src)
	if err != nil {
		return nil, fmt.Errorf("ptx: %w", err)
	}
	p := &parser{toks: toks, mod: &Module{Kernels: map[string]*Kernel{}}}
	if err := p.module(); err != nil {
		return nil, fmt.Errorf("ptx: %w", err)
	}
	return p.mod, nil
}

type parser struct {
	toks []token
	pos  int
	mod  *Module
	k    *Kernel
	// scopes map register and label names of nested { } blocks to unique names: inline assembly declares the
	// same names again and again.
	scopes []map[string]string
	unique int
	labels map[string]int
}

func (p *parser) peek() token { return p.toks[p.pos] }

func (p *parser) next() token {
	t := p.toks[p.pos]
	if t.kind != tokEOF {
		p.pos++
	}
	return t
}

func (p *parser) errorf(t token, format string, args ...any) error {
	return lineErrorf(t.line, format, args...)
}

func (p *parser) accept(text string) bool {
	if t := p.peek(); t.text == text && t.kind != tokString && t.kind != tokEOF {
		p.pos++
		return true
	}
	return false
}

func (p *parser) expect(text string) error {
	if t := p.next(); t.text != text {
		return p.errorf(t, "expected %q, found %q", text, t.text)
	}
	return nil
}

func (p *parser) ident() (string, error) {
	t := p.next()
	if t.kind != tokIdent {
		return "", p.errorf(t, "expected a name, found %q", t.text)
	}
	return t.text, nil
}

func (p *parser) integer() (int, error) {
	t := p.next()
	if t.kind != tokNumber {
		return 0, p.errorf(t, "expected a number, found %q", t.text)
	}
	v, err := strconv.ParseInt(strings.TrimSuffix(t.text, "U"), 0, 64)
	if err != nil {
		return 0, p.errorf(t, "bad number %q", t.text)
	}
	return int(v), nil
}

// alignment reads a power of two.
func (p *parser) alignment() (int, error) {
	t := p.peek()
	n, err := p.integer()
	if err == nil && (n < 1 || n > 1<<20 || n&(n-1) != 0) {
		err = p.errorf(t, ".align %d: expected a power of two", n)
	}
	return n, err
}

// Limits of what a file may ask for, so that a damaged one cannot take the memory of the machine. The first two are
// those of the hardware.
const (
	maxParams = 32764     // bytes of kernel parameters
	maxLocal  = 512 << 10 // bytes of local memory of a thread
	maxRegs   = 1 << 16   // registers a kernel declares
	maxVar    = 1 << 32   // bytes of a variable
	maxInit   = 1 << 26   // bytes of a variable with an initialiser
)

func (p *parser) module() error {
	for {
		t := p.next()
		switch t.text {
		case "":
			if t.kind == tokEOF {
				return nil
			}
		case ".version":
			p.mod.Version = p.next().text
		case ".target":
			p.mod.Target = p.next().text
			for p.accept(",") {
				p.next()
			}
		case ".address_size":
			if n, err := p.integer(); err != nil {
				return err
			} else if n != 64 {
				return p.errorf(t, ".address_size %d: only 64 is supported", n)
			}
		case ".visible", ".weak":
		case ".extern":
		case ".entry":
			if err := p.entry(); err != nil {
				return err
			}
		case ".shared", ".global", ".const":
			v, err := p.variable(t.text[1:])
			if err != nil {
				return err
			}
			switch {
			case v.Space == "shared" && v.Size == 0:
				p.mod.Dynamic = v
			case v.Space == "shared":
				p.mod.Shared = append(p.mod.Shared, v)
			default:
				p.mod.Globals = append(p.mod.Globals, v)
			}
		case ".file":
			for p.peek().line == t.line && p.peek().kind != tokEOF {
				p.next()
			}
		case ".section":
			for !p.accept("{") {
				if p.next().kind == tokEOF {
					return p.errorf(t, ".section is not closed")
				}
			}
			for depth := 1; depth > 0; {
				switch n := p.next(); {
				case n.kind == tokEOF:
					return p.errorf(t, ".section is not closed")
				case n.text == "{":
					depth++
				case n.text == "}":
					depth--
				}
			}
		default:
			return p.errorf(t, "unexpected %q at the top of the file", t.text)
		}
	}
}

var typeSizes = map[string]int{
	"b8": 1, "u8": 1, "s8": 1, "b16": 2, "u16": 2, "s16": 2, "f16": 2, "bf16": 2, "b32": 4, "u32": 4, "s32": 4, "f32": 4,
	"f16x2": 4, "bf16x2": 4, "b64": 8, "u64": 8, "s64": 8, "f64": 8, "b128": 16,
}

// variable reads ".align 16 .b8 name[1024];" with an optional initialiser, after the state space.
func (p *parser) variable(space string) (*Variable, error) {
	v := &Variable{Space: space, Align: 1}
	elem := ""
	for p.peek().kind == tokDirective {
		t := p.next()
		if t.text == ".align" {
			n, err := p.alignment()
			if err != nil {
				return nil, err
			}
			v.Align = n
			continue
		}
		elem = t.text[1:]
		if typeSizes[elem] == 0 {
			return nil, p.errorf(t, "unknown variable type %q", t.text)
		}
		v.Align = max(v.Align, typeSizes[elem])
	}
	name, err := p.ident()
	if err != nil {
		return nil, err
	}
	v.Name = name
	n := 1
	for p.accept("[") {
		if p.accept("]") {
			n = 0
			continue
		}
		t := p.peek()
		d, err := p.integer()
		if err != nil {
			return nil, err
		}
		if d < 0 || d > maxVar || n*d > maxVar/16 {
			return nil, p.errorf(t, "%s has %d elements, at most %d fit", name, d, maxVar/16)
		}
		n *= d
		if err := p.expect("]"); err != nil {
			return nil, err
		}
	}
	v.Size = n * typeSizes[elem]
	if p.accept("=") {
		if err := p.initialiser(v, elem); err != nil {
			return nil, err
		}
	}
	return v, p.expect(";")
}

func (p *parser) initialiser(v *Variable, elem string) error {
	if v.Size > maxInit {
		return p.errorf(p.peek(), "%s has an initialiser and %d bytes, at most %d fit", v.Name, v.Size, maxInit)
	}
	v.Init = make([]byte, v.Size)
	size := typeSizes[elem]
	braces := p.accept("{")
	for i := 0; ; i++ {
		neg := p.accept("-")
		t := p.next()
		bits, _, err := literal(t.text, neg, size)
		if err != nil {
			return p.errorf(t, "%v", err)
		}
		if (i+1)*size > v.Size {
			return p.errorf(t, "initialiser of %s is too long", v.Name)
		}
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], bits)
		copy(v.Init[i*size:], b[:size])
		if !braces {
			return nil
		}
		if p.accept("}") {
			return nil
		}
		if err := p.expect(","); err != nil {
			return err
		}
	}
}

// literal decodes an integer, 0fXXXXXXXX or 0dXXXXXXXXXXXXXXXX literal to its bits.
func literal(s string, neg bool, size int) (bits uint64, float bool, err error) {
	switch {
	case strings.HasPrefix(s, "0f") || strings.HasPrefix(s, "0F"):
		v, err := strconv.ParseUint(s[2:], 16, 32)
		if neg {
			v ^= 1 << 31
		}
		return v, true, err
	case strings.HasPrefix(s, "0d") || strings.HasPrefix(s, "0D"):
		v, err := strconv.ParseUint(s[2:], 16, 64)
		if neg {
			v ^= 1 << 63
		}
		return v, true, err
	case strings.ContainsAny(s, ".") || strings.ContainsAny(s, "eE") && !strings.HasPrefix(s, "0x"):
		f, err := strconv.ParseFloat(s, 64)
		if neg {
			f = -f
		}
		if size == 8 {
			return math.Float64bits(f), true, err
		}
		return uint64(math.Float32bits(float32(f))), true, err
	}
	v, err := strconv.ParseUint(strings.TrimSuffix(s, "U"), 0, 64)
	if err != nil {
		return 0, false, fmt.Errorf("bad literal %q", s)
	}
	if neg {
		v = -v
	}
	return v, false, nil
}

func (p *parser) entry() error {
	name, err := p.ident()
	if err != nil {
		return err
	}
	k := &Kernel{Name: name, Line: p.toks[p.pos-1].line, regIndex: map[string]int{}}
	k.paramStart = uint64(paramBase(p.mod.Target))
	p.k, p.labels, p.scopes = k, map[string]int{}, []map[string]string{{}}
	if p.accept("(") {
		if err := p.params(); err != nil {
			return err
		}
	}
	for !p.accept("{") {
		t := p.next()
		switch t.text {
		case ".maxntid", ".reqntid":
			k.MaxNTid = 1
			for {
				n, err := p.integer()
				if err != nil {
					return err
				}
				if n < 1 || n > 1024 {
					return p.errorf(t, "%s %d: expected 1 to 1024", t.text, n)
				}
				k.MaxNTid *= n
				if !p.accept(",") {
					break
				}
			}
		case ".minnctapersm", ".maxnreg", ".maxclusterrank":
			n, err := p.integer()
			if err != nil {
				return err
			}
			switch t.text {
			case ".minnctapersm":
				k.MinCTAs = n
			case ".maxnreg":
				k.MaxNReg = n
			}
		case ".explicitcluster":
		case ".reqnctapercluster":
			for {
				n, err := p.integer()
				if err != nil {
					return err
				}
				if n != 1 {
					return p.errorf(t, "clusters of more than one block are not supported")
				}
				if !p.accept(",") {
					break
				}
			}
		case ".noreturn":
		default:
			return p.errorf(t, "unexpected %q before the body of %s", t.text, name)
		}
	}
	if err := p.body(); err != nil {
		return err
	}
	for i := range k.Code {
		in := &k.Code[i]
		in.index = i
		if in.Op != "bra" {
			continue
		}
		to, ok := p.labels[in.Args[0].Name]
		if !ok {
			name, _, _ := strings.Cut(in.Args[0].Name, "@")
			return lineErrorf(in.Line, "branch to unknown label %s", name)
		}
		in.target = to
	}
	for _, v := range p.mod.Shared {
		if k.mentions(v.Name) {
			own := *v
			k.Shared = append(k.Shared, &own)
		}
	}
	off := 0
	for _, v := range k.Shared {
		off = (off + v.Align - 1) &^ (v.Align - 1)
		v.addr = uint64(off)
		off += v.Size
	}
	k.SharedLen = off
	off = 0
	for _, v := range k.Local {
		off = (off + v.Align - 1) &^ (v.Align - 1)
		v.addr = uint64(off)
		off += v.Size
	}
	if k.LocalLen = off; off > maxLocal {
		return lineErrorf(k.Line, "%s has %d bytes of local memory, at most %d fit", name, off, maxLocal)
	}
	k.dynamic = p.mod.Dynamic
	if _, twice := p.mod.Kernels[name]; twice {
		return lineErrorf(k.Line, "kernel %s is defined twice", name)
	}
	p.mod.Kernels[name] = k
	return nil
}

// mentions reports whether an operand of the kernel names the variable: a shared variable of the module takes
// room only in the blocks of kernels that use it.
func (k *Kernel) mentions(name string) bool {
	for i := range k.Code {
		for _, a := range k.Code[i].Args {
			if a.Name == name {
				return true
			}
		}
	}
	return false
}

func (p *parser) params() error {
	k := p.k
	for !p.accept(")") {
		if err := p.expect(".param"); err != nil {
			return err
		}
		prm := Param{Align: 1}
		elem := ""
		for p.peek().kind == tokDirective {
			switch t := p.next(); t.text {
			case ".align":
				n, err := p.alignment()
				if err != nil {
					return err
				}
				if elem == "" {
					prm.Align = n
				}
			case ".ptr", ".global", ".shared", ".const", ".local":
			default:
				elem = t.text[1:]
				if typeSizes[elem] == 0 {
					return p.errorf(t, "unknown parameter type %q", t.text)
				}
			}
		}
		name, err := p.ident()
		if err != nil {
			return err
		}
		if elem == "" {
			return p.errorf(p.toks[p.pos-1], "parameter %s has no type", name)
		}
		prm.Name, prm.Type, prm.Size = name, elem, typeSizes[elem]
		prm.Align = max(prm.Align, prm.Size)
		if p.accept("[") {
			n, err := p.integer()
			if err != nil {
				return err
			}
			if n < 1 || n > maxParams {
				return p.errorf(p.toks[p.pos-1], "parameter %s has %d elements, expected 1 to %d", name, n, maxParams)
			}
			prm.Size *= n
			if err := p.expect("]"); err != nil {
				return err
			}
		}
		prm.Offset = alignParam(p.mod.Target, k.ParamSize, prm.Align)
		k.ParamSize = prm.Offset + prm.Size
		if k.ParamSize > maxParams {
			return p.errorf(p.peek(), "the parameters of %s take more than %d bytes", k.Name, maxParams)
		}
		k.Params = append(k.Params, prm)
		p.accept(",")
	}
	return nil
}

// body reads instructions up to the closing brace of the kernel, nested blocks included.
func (p *parser) body() error {
	for {
		t := p.peek()
		switch {
		case t.kind == tokEOF:
			return p.errorf(t, "kernel %s is not closed", p.k.Name)
		case p.accept("{"):
			p.scopes = append(p.scopes, map[string]string{})
		case p.accept("}"):
			p.scopes = p.scopes[:len(p.scopes)-1]
			if len(p.scopes) == 0 {
				return nil
			}
		case p.accept(";"):
		case t.text == ".reg":
			p.pos++
			if err := p.registers(); err != nil {
				return err
			}
		case t.text == ".shared" || t.text == ".local":
			p.pos++
			v, err := p.variable(t.text[1:])
			if err != nil {
				return err
			}
			if v.Space == "shared" {
				p.k.Shared = append(p.k.Shared, v)
			} else {
				p.k.Local = append(p.k.Local, v)
			}
		case t.text == ".pragma":
			for !p.accept(";") {
				p.next()
			}
		case t.text == ".loc":
			for p.peek().line == t.line {
				p.next()
			}
		case t.kind == tokIdent && p.toks[p.pos+1].text == ":":
			p.pos += 2
			label := p.declare(t.text)
			if _, twice := p.labels[label]; twice {
				return p.errorf(t, "label %s stands twice", t.text)
			}
			p.labels[label] = len(p.k.Code)
		default:
			if err := p.instruction(); err != nil {
				return err
			}
		}
	}
}

// declare gives a name of the innermost block its unique form.
func (p *parser) declare(name string) string {
	scope := p.scopes[len(p.scopes)-1]
	if u, ok := scope[name]; ok {
		return u
	}
	u := name
	if len(p.scopes) > 1 {
		p.unique++
		u = fmt.Sprintf("%s@%d", name, p.unique)
	}
	scope[name] = u
	return u
}

func (p *parser) lookup(name string) (string, bool) {
	for i := len(p.scopes) - 1; i >= 0; i-- {
		if u, ok := p.scopes[i][name]; ok {
			return u, true
		}
	}
	return name, false
}

func (p *parser) registers() error {
	t := p.next()
	if t.kind != tokDirective {
		return p.errorf(t, "expected a register type, found %q", t.text)
	}
	typ := t.text[1:]
	if typ != "pred" && typeSizes[typ] == 0 {
		return p.errorf(t, "unknown register type %q", t.text)
	}
	for {
		name, err := p.ident()
		if err != nil {
			return err
		}
		if p.accept("<") {
			n, err := p.integer()
			if err != nil {
				return err
			}
			if err := p.expect(">"); err != nil {
				return err
			}
			if n < 0 || n > maxRegs-len(p.k.regs) {
				return p.errorf(t, "%d registers %s, at most %d fit", n, name, maxRegs-len(p.k.regs))
			}
			for i := range n {
				if err := p.register(t, name+strconv.Itoa(i), typ); err != nil {
					return err
				}
			}
		} else if err := p.register(t, name, typ); err != nil {
			return err
		}
		if !p.accept(",") {
			return p.expect(";")
		}
	}
}

func (p *parser) register(t token, name, typ string) error {
	u := p.declare(name)
	if _, twice := p.k.regIndex[u]; twice {
		return p.errorf(t, "register %s is declared twice", name)
	}
	p.k.regIndex[u] = len(p.k.regs)
	p.k.regs = append(p.k.regs, regDecl{u, typ})
	return nil
}

func (p *parser) instruction() error {
	in := Instr{Line: p.peek().line, Guard: -1}
	if p.accept("@") {
		in.Negate = p.accept("!")
		t := p.next()
		u, _ := p.lookup(t.text)
		r, ok := p.k.regIndex[u]
		if !ok || p.k.regs[r].typ != "pred" {
			return p.errorf(t, "guard %q is not a predicate register", t.text)
		}
		in.Guard = r
	}
	op := p.next()
	if op.kind != tokIdent {
		return p.errorf(op, "expected an instruction, found %q", op.text)
	}
	in.Op, in.Text = op.text, op.text
	for p.peek().kind == tokDirective {
		m := p.next().text
		in.Text += m
		in.Mods = append(in.Mods, m[1:])
	}
	for !p.accept(";") {
		a, err := p.operand(&in)
		if err != nil {
			return err
		}
		in.Args = append(in.Args, a)
		if !p.accept(",") && p.peek().text != ";" {
			return p.errorf(p.peek(), "expected \",\" or \";\" after an operand of %s, found %q", in.Text, p.peek().text)
		}
	}
	if in.Op == "bra" {
		if len(in.Args) != 1 || in.Args[0].Kind != opLabel {
			return lineErrorf(in.Line, "bra wants one label")
		}
	}
	p.k.Code = append(p.k.Code, in)
	return nil
}

// width is the literal width of an instruction: that of its last type modifier.
func (in *Instr) width() int {
	for i := len(in.Mods) - 1; i >= 0; i-- {
		if s := typeSizes[in.Mods[i]]; s != 0 {
			return s
		}
	}
	return 4
}

func (p *parser) operand(in *Instr) (Operand, error) {
	t := p.next()
	switch {
	case t.text == "{":
		v := Operand{Kind: opVector}
		for !p.accept("}") {
			if p.peek().text == "{" {
				return v, p.errorf(t, "a vector inside a vector")
			}
			e, err := p.operand(in)
			if err != nil {
				return v, err
			}
			v.Elems = append(v.Elems, e)
			p.accept(",")
		}
		return v, nil
	case t.text == "[":
		return p.address(in)
	case t.text == "!":
		if p.peek().kind != tokIdent && p.peek().kind != tokNumber {
			return Operand{}, p.errorf(t, "! stands before a predicate, not before %q", p.peek().text)
		}
		o, err := p.operand(in)
		o.Negate = true
		return o, err
	case t.text == "-" || t.kind == tokNumber:
		neg := t.text == "-"
		if neg {
			t = p.next()
		}
		bits, float, err := literal(t.text, neg, in.width())
		if err != nil {
			return Operand{}, p.errorf(t, "%v", err)
		}
		return Operand{Kind: opImm, Imm: bits, Float: float}, nil
	case t.text == "_":
		if p.accept("|") {
			q, err := p.operand(in)
			return Operand{Kind: opPair, Elems: []Operand{{Kind: opSink}, q}}, err
		}
		return Operand{Kind: opSink}, nil
	case t.kind != tokIdent:
		return Operand{}, p.errorf(t, "unexpected operand %q of %s", t.text, in.Text)
	}
	if in.Op == "bra" {
		u, ok := p.lookup(t.text)
		if !ok && len(p.scopes) > 1 {
			// A forward label of the innermost block, or one of the kernel: clang never branches out of an
			// inline assembly block, so an undeclared name belongs to the block.
			u = p.declare(t.text)
		}
		return Operand{Kind: opLabel, Name: u}, nil
	}
	if u, ok := p.lookup(t.text); ok {
		if r, ok := p.k.regIndex[u]; ok {
			o := Operand{Kind: opReg, Reg: r}
			if p.accept("|") {
				if p.toks[min(p.pos+1, len(p.toks)-1)].text == "|" {
					return o, p.errorf(t, "more than two results joined by |")
				}
				q, err := p.operand(in)
				return Operand{Kind: opPair, Elems: []Operand{o, q}}, err
			}
			return o, nil
		}
	}
	if strings.HasPrefix(t.text, "%") {
		name := t.text
		if p.peek().kind == tokDirective {
			name += p.next().text
		}
		if !isSpecial(name) {
			return Operand{}, p.errorf(t, "register %q is not declared", name)
		}
		return Operand{Kind: opSpecial, Name: name}, nil
	}
	o := Operand{Kind: opSymbol, Name: t.text, Reg: -1}
	if p.accept("+") {
		n, err := p.integer()
		if err != nil {
			return o, err
		}
		o.Imm = uint64(n)
	}
	return o, nil
}

func (p *parser) address(in *Instr) (Operand, error) {
	o := Operand{Kind: opAddr, Reg: -1}
	t := p.next()
	switch {
	case t.kind == tokNumber:
		v, _, err := literal(t.text, false, 8)
		if err != nil {
			return o, p.errorf(t, "%v", err)
		}
		o.Imm = v
	case t.kind == tokIdent:
		u, _ := p.lookup(t.text)
		if r, ok := p.k.regIndex[u]; ok {
			o.Reg = r
		} else {
			o.Name = t.text
		}
	default:
		return o, p.errorf(t, "unexpected address %q of %s", t.text, in.Text)
	}
	for {
		switch {
		case p.accept("+"):
			neg := p.accept("-")
			n, err := p.integer()
			if err != nil {
				return o, err
			}
			if neg {
				n = -n
			}
			o.Imm += uint64(n)
		case p.accept("-"):
			n, err := p.integer()
			if err != nil {
				return o, err
			}
			o.Imm -= uint64(n)
		case p.accept(","):
			// [tensorMap, {c0, c1}] of a bulk tensor copy: the coordinates become elements.
			if p.peek().text == "[" {
				return o, p.errorf(p.peek(), "an address inside an address")
			}
			e, err := p.operand(in)
			if err != nil {
				return o, err
			}
			o.Elems = append(o.Elems, e)
		default:
			return o, p.expect("]")
		}
	}
}

var specials = map[string]bool{
	"%tid.x": true, "%tid.y": true, "%tid.z": true, "%ntid.x": true, "%ntid.y": true, "%ntid.z": true,
	"%ctaid.x": true, "%ctaid.y": true, "%ctaid.z": true, "%nctaid.x": true, "%nctaid.y": true, "%nctaid.z": true,
	"%laneid": true, "%warpid": true, "%nwarpid": true, "%clock": true, "%clock64": true, "%smid": true, "%dynamic_smem_size": true,
	"%lanemask_lt": true, "%lanemask_le": true, "%lanemask_eq": true, "%lanemask_ge": true, "%lanemask_gt": true,
	"%cluster_ctarank": true, "%cluster_nctarank": true,
	"%cluster_ctaid.x": true, "%cluster_ctaid.y": true, "%cluster_ctaid.z": true,
	"%cluster_nctaid.x": true, "%cluster_nctaid.y": true, "%cluster_nctaid.z": true,
	"%clusterid.x": true, "%clusterid.y": true, "%clusterid.z": true, "%nclusterid.x": true, "%nclusterid.y": true, "%nclusterid.z": true,
}

func isSpecial(name string) bool { return specials[name] }
