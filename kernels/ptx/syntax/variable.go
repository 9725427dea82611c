package syntax

import "encoding/binary"

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
		if sizes[elem] == 0 {
			return nil, p.errorf(t, "unknown variable type %q", t.text)
		}
		v.Align = max(v.Align, sizes[elem])
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
	v.Size = n * sizes[elem]
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
	size := sizes[elem]
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
