package syntax

import (
	"strconv"
	"strings"
)

// parser reads tokens. A kernel is under construction in k.
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
	return Errorf(t.line, format, args...)
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
