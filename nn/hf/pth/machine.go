package pth

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// machine interprets one pickle (protocols 0 to 5, the opcodes that C-implemented picklers emit). load turns a
// persistent id into a value.
type machine struct {
	in    []byte
	pos   int
	stack []any
	memo  map[int]any
	load  func(id any) (any, error)
}

func unpickle(in []byte, load func(id any) (any, error)) (any, error) {
	m := &machine{in: in, memo: map[int]any{}, load: load}
	for {
		at := m.pos
		op, err := m.byte()
		if err != nil {
			return nil, fmt.Errorf("pickle: %w", err)
		}
		if op == '.' {
			v, err := m.pop()
			if err != nil {
				return nil, fmt.Errorf("pickle: %w", err)
			}
			return v, nil
		}
		if err := m.step(op); err != nil {
			return nil, fmt.Errorf("pickle: byte %d: %w", at, err)
		}
	}
}

var errCut = errors.New("the pickle ends in the middle")

func (m *machine) byte() (byte, error) {
	if m.pos >= len(m.in) {
		return 0, errCut
	}
	b := m.in[m.pos]
	m.pos++
	return b, nil
}

func (m *machine) bytes(n uint64) ([]byte, error) {
	if n > uint64(len(m.in)-m.pos) {
		return nil, errCut
	}
	b := m.in[m.pos : m.pos+int(n)]
	m.pos += int(n)
	return b, nil
}

// sized reads a count of width bytes and as many bytes as it says.
func (m *machine) sized(width uint64) ([]byte, error) {
	raw, err := m.bytes(width)
	if err != nil {
		return nil, err
	}
	return m.bytes(little(raw))
}

func (m *machine) line() (string, error) {
	i := bytes.IndexByte(m.in[m.pos:], '\n')
	if i < 0 {
		return "", errCut
	}
	s := string(m.in[m.pos : m.pos+i])
	m.pos += i + 1
	return s, nil
}

func little(b []byte) uint64 {
	var w [8]byte
	copy(w[:], b)
	return binary.LittleEndian.Uint64(w[:])
}

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

func (m *machine) pop() (any, error) {
	if len(m.stack) == 0 {
		return nil, errors.New("the stack is empty")
	}
	v := m.stack[len(m.stack)-1]
	if _, ok := v.(mark); ok {
		return nil, errors.New("a mark where a value was expected")
	}
	m.stack = m.stack[:len(m.stack)-1]
	return v, nil
}

func (m *machine) top() (any, error) {
	v, err := m.pop()
	if err == nil {
		m.push(v)
	}
	return v, err
}

func (m *machine) popMark() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(mark); ok {
			items := append([]any(nil), m.stack[i+1:]...)
			m.stack = m.stack[:i]
			return items, nil
		}
	}
	return nil, errors.New("no mark on the stack")
}

func (m *machine) popN(n int) ([]any, error) {
	if n > len(m.stack) {
		return nil, errors.New("the stack is too short")
	}
	items := append([]any(nil), m.stack[len(m.stack)-n:]...)
	for _, v := range items {
		if _, ok := v.(mark); ok {
			return nil, errors.New("a mark where a value was expected")
		}
	}
	m.stack = m.stack[:len(m.stack)-n]
	return items, nil
}

func (m *machine) step(op byte) error {
	switch op {
	case 0x80: // PROTO
		v, err := m.byte()
		if err == nil && v > 5 {
			err = fmt.Errorf("pickle protocol %d is unknown", v)
		}
		return err
	case 0x95: // FRAME
		_, err := m.bytes(8)
		return err
	case '(':
		m.push(mark{})
		return nil
	case '0': // POP
		if len(m.stack) == 0 {
			return errors.New("the stack is empty")
		}
		m.stack = m.stack[:len(m.stack)-1]
		return nil
	case '1': // POP_MARK
		_, err := m.popMark()
		return err
	case '2': // DUP
		v, err := m.top()
		if err == nil {
			m.push(v)
		}
		return err
	case 'N':
		m.push(nil)
		return nil
	case 0x88, 0x89: // NEWTRUE, NEWFALSE
		m.push(op == 0x88)
		return nil
	case 'K', 'M', 'J', 'I', 'L', 0x8a, 0x8b, 'G', 'F':
		return m.number(op)
	case 'X', 0x8c, 0x8d, 'U', 'T', 'V', 'B', 'C', 0x8e, 0x96:
		return m.text(op)
	case ']', 'l', 'a', 'e', ')', 't', 0x85, 0x86, 0x87, '}', 'd', 's', 'u', 0x8f, 0x90, 0x91:
		return m.container(op)
	case 'q', 'r', 'p', 0x94, 'h', 'j', 'g':
		return m.memory(op)
	}
	return m.object(op)
}

func (m *machine) number(op byte) error {
	switch op {
	case 'K', 'M', 'J':
		b, err := m.bytes(map[byte]uint64{'K': 1, 'M': 2, 'J': 4}[op])
		if err != nil {
			return err
		}
		v := int64(little(b))
		if op == 'J' {
			v = int64(int32(v))
		}
		m.push(v)
	case 'I', 'L':
		s, err := m.line()
		if err != nil {
			return err
		}
		if op == 'I' && (s == "00" || s == "01") {
			m.push(s == "01")
			return nil
		}
		if op == 'L' && len(s) > 0 && s[len(s)-1] == 'L' {
			s = s[:len(s)-1]
		}
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return fmt.Errorf("%.40q is not a 64-bit number", s)
		}
		m.push(v)
	case 0x8a, 0x8b: // LONG1, LONG4
		b, err := m.sized(map[byte]uint64{0x8a: 1, 0x8b: 4}[op])
		if err != nil {
			return err
		}
		if len(b) > 8 {
			m.push(&opaque{what: "a large integer"}) // random seeds of other libraries
			return nil
		}
		v := little(b)
		if n := len(b); n > 0 && n < 8 && b[n-1]&0x80 != 0 {
			v |= math.MaxUint64 << (8 * n)
		}
		m.push(int64(v))
	case 'G':
		b, err := m.bytes(8)
		if err != nil {
			return err
		}
		m.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	case 'F':
		s, err := m.line()
		if err != nil {
			return err
		}
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fmt.Errorf("%.40q is not a number", s)
		}
		m.push(v)
	}
	return nil
}

func (m *machine) text(op byte) error {
	if op == 'V' {
		s, err := m.line()
		m.push(s)
		return err
	}
	width := map[byte]uint64{'X': 4, 0x8c: 1, 0x8d: 8, 'U': 1, 'T': 4, 'B': 4, 'C': 1, 0x8e: 8, 0x96: 8}[op]
	b, err := m.sized(width)
	if err != nil {
		return err
	}
	switch op {
	case 'B', 'C', 0x8e, 0x96:
		m.push(b)
	default:
		m.push(string(b))
	}
	return nil
}

func (m *machine) container(op byte) error {
	switch op {
	case ']':
		m.push(&list{})
	case '}':
		m.push(&dict{})
	case 0x8f: // EMPTY_SET
		m.push(&list{})
	case ')':
		m.push(&tuple{})
	case 't', 'l', 'd', 0x91: // 0x91 is FROZENSET
		items, err := m.popMark()
		if err != nil {
			return err
		}
		switch op {
		case 't', 0x91:
			m.push(&tuple{items})
		case 'l':
			m.push(&list{items})
		default:
			d := &dict{}
			m.push(d)
			return setItems(d, items)
		}
	case 0x85, 0x86, 0x87: // TUPLE1 to TUPLE3
		items, err := m.popN(int(op) - 0x84)
		if err != nil {
			return err
		}
		m.push(&tuple{items})
	case 'a':
		items, err := m.popN(1)
		if err != nil {
			return err
		}
		return m.extend(items)
	case 'e', 0x90: // APPENDS, ADDITEMS
		items, err := m.popMark()
		if err != nil {
			return err
		}
		return m.extend(items)
	case 's':
		items, err := m.popN(2)
		if err != nil {
			return err
		}
		return m.set(items)
	case 'u':
		items, err := m.popMark()
		if err != nil {
			return err
		}
		return m.set(items)
	}
	return nil
}

func (m *machine) extend(items []any) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case *list:
		v.items = append(v.items, items...)
	case *opaque:
	default:
		return fmt.Errorf("appending to %s", describe(v))
	}
	return nil
}

func (m *machine) set(items []any) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case *dict:
		return setItems(v, items)
	case *opaque:
		return nil
	default:
		return fmt.Errorf("setting an item of %s", describe(v))
	}
}

func setItems(d *dict, items []any) error {
	if len(items)%2 != 0 {
		return errors.New("a dictionary key without a value")
	}
	for i := 0; i < len(items); i += 2 {
		d.keys, d.values = append(d.keys, items[i]), append(d.values, items[i+1])
	}
	return nil
}

func (m *machine) memory(op byte) error {
	switch op {
	case 'q', 'r', 'p', 0x94:
		v, err := m.top()
		if err != nil {
			return err
		}
		i := len(m.memo)
		if op != 0x94 {
			if i, err = m.memoIndex(op == 'p', map[byte]uint64{'q': 1, 'r': 4}[op]); err != nil {
				return err
			}
		}
		m.memo[i] = v
	default:
		i, err := m.memoIndex(op == 'g', map[byte]uint64{'h': 1, 'j': 4}[op])
		if err != nil {
			return err
		}
		v, ok := m.memo[i]
		if !ok {
			return fmt.Errorf("memo %d was never stored", i)
		}
		m.push(v)
	}
	return nil
}

func (m *machine) memoIndex(text bool, width uint64) (int, error) {
	if !text {
		b, err := m.bytes(width)
		return int(little(b)), err
	}
	s, err := m.line()
	if err != nil {
		return 0, err
	}
	i, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("memo index %.40q", s)
	}
	return int(i), nil
}

func (m *machine) object(op byte) error {
	switch op {
	case 'c': // GLOBAL
		module, err := m.line()
		if err != nil {
			return err
		}
		name, err := m.line()
		if err != nil {
			return err
		}
		g, err := find(module, name)
		m.push(g)
		return err
	case 0x93: // STACK_GLOBAL
		items, err := m.popN(2)
		if err != nil {
			return err
		}
		module, ok1 := items[0].(string)
		name, ok2 := items[1].(string)
		if !ok1 || !ok2 {
			return errors.New("a global named by something that is not a string")
		}
		g, err := find(module, name)
		m.push(g)
		return err
	case 'R', 0x81: // REDUCE, NEWOBJ
		items, err := m.popN(2)
		if err != nil {
			return err
		}
		return m.call(items[0], items[1])
	case 0x92: // NEWOBJ_EX
		items, err := m.popN(3)
		if err != nil {
			return err
		}
		return m.call(items[0], items[1])
	case 'i': // INST
		module, err := m.line()
		if err != nil {
			return err
		}
		name, err := m.line()
		if err != nil {
			return err
		}
		g, err := find(module, name)
		if err != nil {
			return err
		}
		items, err := m.popMark()
		if err != nil {
			return err
		}
		return m.call(g, &tuple{items})
	case 'b': // BUILD: attributes of an object; none of those we understand has any that matter
		if _, err := m.pop(); err != nil {
			return err
		}
		_, err := m.top()
		return err
	case 'Q': // BINPERSID
		id, err := m.pop()
		if err != nil {
			return err
		}
		v, err := m.load(id)
		m.push(v)
		return err
	}
	return fmt.Errorf("opcode %#02x is not supported", op)
}

func (m *machine) call(callee, args any) error {
	if o, ok := callee.(*opaque); ok {
		m.push(o)
		return nil
	}
	g, ok := callee.(global)
	if !ok {
		return fmt.Errorf("calling %s", describe(callee))
	}
	items, ok := sequence(args)
	if !ok {
		return fmt.Errorf("calling %s with %s", g, describe(args))
	}
	v, err := call(g, items)
	m.push(v)
	return err
}
