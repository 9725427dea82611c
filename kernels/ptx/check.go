package ptx

import (
	"cmp"
	"errors"
	"slices"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// Check parses PTX and compiles every kernel, as running it would, and returns all mistakes in the order of their
// lines: unknown instructions, modifiers and types, wrong operands, undeclared registers and labels. The first
// mistake in the grammar ends the search; those inside well-formed instructions are all found. The module is nil
// only if the text is not PTX.
func Check(src string) (*syntax.Module, []*syntax.LineError) {
	mod, err := syntax.Parse(src)
	if err != nil {
		return nil, []*syntax.LineError{asLineError(err)}
	}
	var found []*syntax.LineError
	if mod.Version == "" || mod.Target == "" {
		found = append(found, &syntax.LineError{Line: 1, Reason: "no .version or no .target: both stand before the first kernel"})
	}
	for _, k := range mod.Kernels {
		_, errs := compile(mod, nil, k)
		for _, err := range errs {
			found = append(found, asLineError(err))
		}
	}
	slices.SortFunc(found, func(a, b *syntax.LineError) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Reason, b.Reason))
	})
	return mod, found
}

func asLineError(err error) *syntax.LineError {
	var at *syntax.LineError
	if errors.As(err, &at) {
		return at
	}
	return &syntax.LineError{Line: 1, Reason: err.Error()}
}
