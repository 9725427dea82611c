package syntax

func (p *parser) instruction() error {
	in := Instr{Line: p.peek().line, Guard: -1}
	if p.accept("@") {
		in.Negate = p.accept("!")
		t := p.next()
		u, _ := p.lookup(t.text)
		r, ok := p.k.index[u]
		if !ok || p.k.Regs[r].Type != "pred" {
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
		if len(in.Args) != 1 || in.Args[0].Kind != LabelOperand {
			return Errorf(in.Line, "bra wants one label")
		}
	}
	p.k.Code = append(p.k.Code, in)
	return nil
}
