package pth

import "fmt"

// The values of the machine are nil, bool, int64, float64, string, []byte and the types below. Containers are
// pointers because a pickle fills them after it has stored them away.
type (
	list  struct{ items []any }
	tuple struct{ items []any }
	// dict keeps its entries in file order; keys may be any value.
	dict struct{ keys, values []any }
	// global is a name of a Python module.
	global struct{ module, name string }
	// opaque is a placeholder for an object that is not needed. what describes it in messages.
	opaque struct{ what string }
	// storage is one block of elements of the zip.
	storage struct {
		key  string
		kind elemKind
		n    int64 // elements
	}
	// tensorRef is a view of a storage.
	tensorRef struct {
		storage       *storage
		offset        int64 // elements
		shape, stride []int64
	}
)

type mark struct{}

func (g global) String() string { return g.module + "." + g.name }

// describe names a value's kind for messages.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool, int64, float64:
		return fmt.Sprintf("the number %v", v)
	case string:
		return fmt.Sprintf("the string %.40q", v)
	case []byte:
		return fmt.Sprintf("%d bytes", len(v))
	case *list:
		return fmt.Sprintf("a list of %d", len(v.items))
	case *tuple:
		return fmt.Sprintf("a tuple of %d", len(v.items))
	case *dict:
		return fmt.Sprintf("a dictionary of %d", len(v.keys))
	case global:
		return "the name " + v.String()
	case *opaque:
		return v.what
	case *storage:
		return "a storage"
	case *tensorRef:
		return "a tensor"
	}
	return fmt.Sprintf("%T", v)
}
