package pth

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dino-mx/dmx/tensor/safetensors"
)

type elemKind = safetensors.DType

var storageKinds = map[string]elemKind{
	"FloatStorage": safetensors.F32, "HalfStorage": safetensors.F16, "BFloat16Storage": safetensors.BF16,
	"DoubleStorage": safetensors.F64, "LongStorage": safetensors.I64, "IntStorage": safetensors.I32,
	"ShortStorage": safetensors.I16, "CharStorage": safetensors.I8, "ByteStorage": safetensors.U8,
	"BoolStorage": safetensors.Bool,
}

// opaqueNames are Python names that training scripts leave in checkpoints next to the weights. An entry that ends in a
// dot allows a whole package. The objects are never used, so that a placeholder stands for each.
var opaqueNames = []string{
	"argparse.Namespace", "numpy.", "torch.", "omegaconf.", "pathlib.", "datetime.", "collections.",
	"typing.", "functools.partial", "enum.", "copyreg._reconstructor", "_codecs.encode",
	"pytorch_lightning.", "lightning.", "lightning_fabric.", "timm.", "fvcore.", "yacs.", "easydict.",
	"ml_collections.", "antlr4.",
	"builtins.set", "builtins.frozenset", "builtins.bytearray", "builtins.complex", "builtins.slice",
	"builtins.range", "builtins.object", "builtins.list", "builtins.dict", "builtins.tuple", "builtins.int",
	"builtins.float", "builtins.bool", "builtins.str", "builtins.bytes",
	"__builtin__.set", "__builtin__.frozenset", "__builtin__.object", "__builtin__.bytearray", "__builtin__.list",
	"__builtin__.dict", "__builtin__.tuple", "__builtin__.int", "__builtin__.long", "__builtin__.float",
	"__builtin__.bool", "__builtin__.str", "__builtin__.unicode",
}

// find returns a global name that is on the list of allowed names. Any other is an error.
func find(module, name string) (global, error) {
	g := global{module, name}
	if module == "" || name == "" {
		return g, errors.New("a global without a name")
	}
	full := g.String()
	for _, ok := range opaqueNames {
		if full == ok || strings.HasSuffix(ok, ".") && strings.HasPrefix(full, ok) {
			return g, nil
		}
	}
	return g, fmt.Errorf("the pickle asks for %s, which is not on the list of names a checkpoint may use; nothing was executed. "+
		"If you trust the file, save its state dict alone from Python", full)
}

// call is what REDUCE and NEWOBJ do. Only constructors of plain data and tensors are understood.
func call(g global, args []any) (any, error) {
	switch g.String() {
	case "collections.OrderedDict":
		d := &dict{}
		if len(args) == 0 {
			return d, nil
		}
		pairs, ok := args[0].(*list)
		if !ok {
			return nil, fmt.Errorf("OrderedDict of %s", describe(args[0]))
		}
		for _, p := range pairs.items {
			items, ok := sequence(p)
			if !ok || len(items) != 2 {
				return nil, fmt.Errorf("OrderedDict entry is %s, expected a pair", describe(p))
			}
			d.keys, d.values = append(d.keys, items[0]), append(d.values, items[1])
		}
		return d, nil
	case "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor":
		return rebuildTensor(args)
	case "torch._tensor._rebuild_from_type_v2":
		return rebuildFromType(args)
	case "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct":
		return &opaque{what: "a NumPy array, not a tensor; save the arrays as tensors from Python: " + fromNumPy}, nil
	case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state":
		if len(args) > 0 {
			if t, ok := args[0].(*tensorRef); ok {
				return t, nil
			}
		}
		return nil, errors.New("a parameter without a tensor")
	}
	return &opaque{what: "an object of type " + g.String()}, nil
}

func rebuildTensor(args []any) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("a tensor is rebuilt from %d values, expected at least 4", len(args))
	}
	s, ok := args[0].(*storage)
	if !ok {
		return nil, fmt.Errorf("a tensor is rebuilt from %s, expected a storage", describe(args[0]))
	}
	off, ok := args[1].(int64)
	if !ok || off < 0 {
		return nil, fmt.Errorf("a tensor's storage offset is %s", describe(args[1]))
	}
	shape, err := ints(args[2])
	if err != nil {
		return nil, fmt.Errorf("a tensor's shape: %w", err)
	}
	stride, err := ints(args[3])
	if err != nil {
		return nil, fmt.Errorf("a tensor's strides: %w", err)
	}
	if len(shape) != len(stride) || len(shape) > maxRank {
		return nil, fmt.Errorf("a tensor has %d dimensions and %d strides", len(shape), len(stride))
	}
	t := &tensorRef{storage: s, offset: off, shape: shape, stride: stride}
	return t, t.check()
}

const maxRank = 64

// check proves that every element lies in the storage and that the tensor is no larger than its storage, so that
// nobody allocates more than the file holds.
func (t *tensorRef) check() error {
	n, last := int64(1), t.offset
	for i, d := range t.shape {
		if d < 0 || t.stride[i] < 0 {
			return fmt.Errorf("shape %v with strides %v", t.shape, t.stride)
		}
		if d == 0 {
			n = 0
		}
		if d > 1 && n > 0 {
			if n > t.storage.n/d {
				return fmt.Errorf("a tensor of shape %v is larger than its storage of %d elements", t.shape, t.storage.n)
			}
			n *= d
			if t.stride[i] > t.storage.n {
				return fmt.Errorf("a tensor of shape %v, strides %v reaches past its storage of %d elements", t.shape, t.stride, t.storage.n)
			}
			last += (d - 1) * t.stride[i]
			if last >= t.storage.n {
				return fmt.Errorf("a tensor of shape %v, strides %v reaches past its storage of %d elements", t.shape, t.stride, t.storage.n)
			}
		}
	}
	if n > 0 && last >= t.storage.n {
		return fmt.Errorf("a tensor of shape %v at offset %d reaches past its storage of %d elements", t.shape, t.offset, t.storage.n)
	}
	return nil
}

func sequence(v any) ([]any, bool) {
	switch v := v.(type) {
	case *tuple:
		return v.items, true
	case *list:
		return v.items, true
	}
	return nil, false
}

func ints(v any) ([]int64, error) {
	items, ok := sequence(v)
	if !ok {
		return nil, fmt.Errorf("found %s, expected a tuple", describe(v))
	}
	out := make([]int64, len(items))
	for i, it := range items {
		n, ok := it.(int64)
		if !ok {
			return nil, fmt.Errorf("found %s, expected a whole number", describe(it))
		}
		out[i] = n
	}
	return out, nil
}
