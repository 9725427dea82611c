package syntax

import "fmt"

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
