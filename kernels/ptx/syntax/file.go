package syntax

import "fmt"

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
