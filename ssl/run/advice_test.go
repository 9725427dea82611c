package run

import (
	"errors"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/data/loader"
	"github.com/dino-mx/dmx/ssl"
	"github.com/dino-mx/dmx/tensor"
)

func TestErrorsNameTheKeysThatHelp(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&tensor.OutOfMemory{Requested: 3 << 20, Free: -1}, "; lower train.batch_size_per_gpu"},
		{&loader.UnreadableError{Samples: make([]loader.Unreadable, 2), Of: 9, MaxShare: .1}, "dataset.max_unreadable_share: 2 of 9 images"},
		{ssl.ErrNothingMasked, "ibot.mask_ratio_min_max: no patch"},
		{&ssl.NonFiniteError{Cause: ssl.NonFiniteImages}, "the images themselves hold NaN or infinity; the weights are those before these steps: check dataset.mean"},
		{&ssl.NonFiniteError{Cause: ssl.NonFiniteWeights, Parameter: "x.weight"}, "x.weight hold NaN"},
		{&ssl.NonFiniteError{Cause: ssl.NonFiniteActivations, DType: tensor.BF16}, "or set distribution.mixed_precision=no"},
		{&ssl.NonFiniteError{Cause: ssl.NonFiniteActivations}, "lower train.lr"},
	} {
		got := advise(c.err)
		if !errors.Is(got, c.err) || !strings.Contains(got.Error(), c.want) {
			t.Errorf("%v: want %q in it", got, c.want)
		}
	}
	for _, kind := range []ssl.CollapseKind{ssl.FewPrototypes, ssl.FewPrototypesSinkhorn, ssl.UniformTargets, ssl.SameFeatures} {
		if collapseAdvice[kind] == "" {
			t.Errorf("no advice against %s", ssl.Collapse{Kind: kind})
		}
	}
}
