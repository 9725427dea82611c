package syntax

import (
	"strconv"
)

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

func (p *parser) registers() error {
	t := p.next()
	if t.kind != tokDirective {
		return p.errorf(t, "expected a register type, found %q", t.text)
	}
	typ := t.text[1:]
	if typ != "pred" && sizes[typ] == 0 {
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
			if n < 0 || n > maxRegs-len(p.k.Regs) {
				return p.errorf(t, "%d registers %s, at most %d fit", n, name, maxRegs-len(p.k.Regs))
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
	if _, twice := p.k.index[u]; twice {
		return p.errorf(t, "register %s is declared twice", name)
	}
	p.k.index[u] = len(p.k.Regs)
	p.k.Regs = append(p.k.Regs, Register{u, typ})
	return nil
}
