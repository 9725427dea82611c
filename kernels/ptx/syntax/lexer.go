package syntax

// tokenKind classifies a token of PTX text.
type tokenKind uint8

const (
	tokEOF       tokenKind = iota
	tokIdent               // names, registers (%r1), labels ($L1), directives and modifiers with their dot
	tokNumber              // integer or float literal, as written
	tokPunct               // one of , ; : ( ) [ ] { } < > @ ! + - | =
	tokString              // "..." of .file and .section lines
	tokDirective           // identifier that begins with a dot
)

// token is one lexical element with the line it stands on.
type token struct {
	kind tokenKind
	text string
	line int
}

func isIdentStart(c byte) bool {
	return c == '_' || c == '$' || c == '%' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isIdentPart(c byte) bool { return isIdentStart(c) || isDigit(c) }

// lex splits PTX text into tokens. An opcode with its modifiers ("ld.global.nc.v4.f32") and a register with a
// component ("%tid.x") come out as an identifier followed by directives.
func lex(src string) ([]token, error) {
	var toks []token
	line := 1
	for i := 0; i < len(src); {
		c := src[i]
		switch {
		case c == '\n':
			line++
			i++
		case c == ' ' || c == '\t' || c == '\r':
			i++
		case c == '/' && i+1 < len(src) && src[i+1] == '/':
			for i < len(src) && src[i] != '\n' {
				i++
			}
		case c == '/' && i+1 < len(src) && src[i+1] == '*':
			j := i + 2
			for j+1 < len(src) && (src[j] != '*' || src[j+1] != '/') {
				if src[j] == '\n' {
					line++
				}
				j++
			}
			if j+1 >= len(src) {
				return nil, Errorf(line, "comment is not closed")
			}
			i = j + 2
		case c == '"':
			j := i + 1
			for j < len(src) && src[j] != '"' && src[j] != '\n' {
				j++
			}
			if j >= len(src) || src[j] != '"' {
				return nil, Errorf(line, "string is not closed")
			}
			toks = append(toks, token{tokString, src[i+1 : j], line})
			i = j + 1
		case isIdentStart(c):
			j := i + 1
			for j < len(src) && isIdentPart(src[j]) {
				j++
			}
			toks = append(toks, token{tokIdent, src[i:j], line})
			i = j
		case c == '.' && i+1 < len(src) && (isIdentStart(src[i+1]) || isDigit(src[i+1]) && i > 0 && isIdentPart(src[i-1])):
			// A digit may begin a modifier: cp.async.bulk.tensor.2d.
			j := i + 1
			for j < len(src) && (isIdentPart(src[j]) || src[j] == ':' && j+2 < len(src) && src[j+1] == ':' && isIdentStart(src[j+2])) {
				if src[j] == ':' {
					j++
				}
				j++
			}
			toks = append(toks, token{tokDirective, src[i:j], line})
			i = j
		case c >= '0' && c <= '9':
			j := i + 1
			for j < len(src) && (isIdentPart(src[j]) || src[j] == '.' && j+1 < len(src) && src[j+1] >= '0' && src[j+1] <= '9') {
				j++
			}
			toks = append(toks, token{tokNumber, src[i:j], line})
			i = j
		default:
			switch c {
			case ',', ';', ':', '(', ')', '[', ']', '{', '}', '<', '>', '@', '!', '+', '-', '|', '=':
				toks = append(toks, token{tokPunct, string(c), line})
				i++
			default:
				return nil, Errorf(line, "unexpected character %q", c)
			}
		}
	}
	return append(toks, token{tokEOF, "", line}), nil
}
