package syntax

import "strings"

func (p *parser) entry() error {
	name, err := p.ident()
	if err != nil {
		return err
	}
	k := &Kernel{Name: name, Line: p.toks[p.pos-1].line, index: map[string]int{}}
	k.ParamStart = uint64(paramBase(p.mod.Target))
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
			if t.text == ".reqntid" {
				k.ReqNTid = k.MaxNTid
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
		in.Index = i
		if in.Op != "bra" {
			continue
		}
		to, ok := p.labels[in.Args[0].Name]
		if !ok {
			name, _, _ := strings.Cut(in.Args[0].Name, "@")
			return Errorf(in.Line, "branch to unknown label %s", name)
		}
		in.Target = to
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
		v.Offset = off
		off += v.Size
	}
	k.SharedLen = off
	off = 0
	for _, v := range k.Local {
		off = (off + v.Align - 1) &^ (v.Align - 1)
		v.Offset = off
		off += v.Size
	}
	if k.LocalLen = off; off > maxLocal {
		return Errorf(k.Line, "%s has %d bytes of local memory, at most %d fit", name, off, maxLocal)
	}
	k.Extern = p.mod.Dynamic
	if _, twice := p.mod.Kernels[name]; twice {
		return Errorf(k.Line, "kernel %s is defined twice", name)
	}
	p.mod.Kernels[name] = k
	return nil
}
