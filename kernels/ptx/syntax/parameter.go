package syntax

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
				if sizes[elem] == 0 {
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
		prm.Name, prm.Type, prm.Size = name, elem, sizes[elem]
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
