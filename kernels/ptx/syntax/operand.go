package syntax

import "strings"

func (p *parser) operand(in *Instr) (Operand, error) {
	t := p.next()
	switch {
	case t.text == "{":
		v := Operand{Kind: VectorOperand}
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
		return Operand{Kind: ImmOperand, Imm: bits, Float: float}, nil
	case t.text == "_":
		if p.accept("|") {
			q, err := p.operand(in)
			return Operand{Kind: PairOperand, Elems: []Operand{{Kind: SinkOperand}, q}}, err
		}
		return Operand{Kind: SinkOperand}, nil
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
		return Operand{Kind: LabelOperand, Name: u}, nil
	}
	if u, ok := p.lookup(t.text); ok {
		if r, ok := p.k.index[u]; ok {
			o := Operand{Kind: RegOperand, Reg: r}
			if p.accept("|") {
				if p.toks[min(p.pos+1, len(p.toks)-1)].text == "|" {
					return o, p.errorf(t, "more than two results joined by |")
				}
				q, err := p.operand(in)
				return Operand{Kind: PairOperand, Elems: []Operand{o, q}}, err
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
		return Operand{Kind: SpecialOperand, Name: name}, nil
	}
	o := Operand{Kind: SymbolOperand, Name: t.text, Reg: -1}
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
	o := Operand{Kind: AddrOperand, Reg: -1}
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
		if r, ok := p.k.index[u]; ok {
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

// width is the literal width of an instruction: that of its last type modifier.
func (in *Instr) width() int {
	for i := len(in.Mods) - 1; i >= 0; i-- {
		if s := sizes[in.Mods[i]]; s != 0 {
			return s
		}
	}
	return 4
}
