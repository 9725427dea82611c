package pth

import (
	"archive/zip"
	"errors"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/tensor/safetensors"
)

// Distributed says what a folder of .distcp files is, and what to do with it.
const Distributed = "a distributed checkpoint (torch.distributed.checkpoint); join its parts with " +
	"python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE.pth"

// notZip says what a file that is no zip archive is, from its first bytes.
func notZip(head []byte) error {
	if what := safetensors.Recognise(head); what != "" {
		return errors.New(what)
	}
	if head[0] == 0x80 {
		return errors.New("a bare pickle, as PyTorch wrote before version 1.6 and pickle.dump writes; " +
			"load it in Python and save it again with torch.save")
	}
	return errors.New("not a zip archive")
}

// noPickle says what an archive without data.pkl is.
func noPickle(z *zip.Reader) error {
	for _, m := range z.File {
		if strings.HasSuffix(m.Name, ".npy") {
			return errors.New("a NumPy archive (numpy.savez); save the arrays as tensors from Python: " + fromNumPy)
		}
	}
	return errors.New("no data.pkl in the archive")
}

const fromNumPy = "torch.save({k: torch.from_numpy(v) for k, v in arrays.items()}, FILE)"

// rebuildFromType is PyTorch's way to store a tensor of a subclass: a function with its arguments, and attributes. A
// DTensor is whole if its local part has its full shape.
func rebuildFromType(args []any) (any, error) {
	if len(args) < 4 {
		return nil, errors.New("a tensor of a subclass without its parts")
	}
	how, ok1 := args[0].(global)
	class, ok2 := args[1].(global)
	inner, ok3 := sequence(args[2])
	if !ok1 || !ok2 || !ok3 {
		return nil, errors.New("a tensor of a subclass that is not described by names and arguments")
	}
	if class.name != "DTensor" {
		return call(how, inner)
	}
	part := &opaque{what: "a DTensor, of which the file holds the part of one rank; gather whole tensors in Python before saving: " +
		"torch.distributed.checkpoint.state_dict.get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))"}
	state, ok := args[3].(*dict)
	if pair, isPair := sequence(args[3]); isPair && len(pair) == 2 {
		state, ok = pair[1].(*dict) // (None, slots)
	}
	if !ok || len(inner) < 3 {
		return part, nil
	}
	shape, err := ints(inner[2])
	if err != nil {
		return part, nil
	}
	for i, k := range state.keys {
		local, isTensor := state.values[i].(*tensorRef)
		if k == "_local_tensor" && isTensor && slices.Equal(local.shape, shape) {
			return local, nil
		}
	}
	return part, nil
}
