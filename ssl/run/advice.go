package run

import (
	"errors"
	"fmt"

	"github.com/dino-mx/dmx/data/loader"
	"github.com/dino-mx/dmx/ssl"
	"github.com/dino-mx/dmx/tensor"
)

// collapseAdvice says which keys to change against a collapse.
var collapseAdvice = map[ssl.CollapseKind]string{
	ssl.FewPrototypes:         "lower train.center_momentum or train.lr, raise train.teacher_temp, or set train.centering=sinkhorn_knopp",
	ssl.FewPrototypesSinkhorn: "raise train.global_batch_size or lower dino_head.out_dim",
	ssl.UniformTargets:        "lower train.teacher_temp and train.warmup_teacher_temp, or train.momentum_teacher",
	ssl.SameFeatures:          "lower train.lr, lengthen train.warmup_iterations, or set koleo.loss_weight=0.1",
}

// advise adds to an error of the rooms below, which do not know the configuration, the keys that would help.
func advise(err error) error {
	var memory *tensor.OutOfMemory
	var unreadable *loader.UnreadableError
	var nonFinite *ssl.NonFiniteError
	switch {
	case errors.As(err, &memory):
		return fmt.Errorf("%w; lower train.batch_size_per_gpu or crops.local_crops_number, "+
			"or set train.gradient_checkpointing_enable=true", err)
	case errors.As(err, &unreadable):
		return fmt.Errorf("dataset.max_unreadable_share: %w", err)
	case errors.Is(err, ssl.ErrNothingMasked):
		return fmt.Errorf("ibot.mask_ratio_min_max: %w", err)
	case errors.As(err, &nonFinite):
		return fmt.Errorf("%w: %s", err, nonFiniteAdvice(nonFinite))
	}
	return err
}

func nonFiniteAdvice(e *ssl.NonFiniteError) string {
	switch {
	case e.Cause == ssl.NonFiniteImages:
		return "check dataset.mean, dataset.std and the files"
	case e.Cause == ssl.NonFiniteWeights:
		return "the weights that the run started from are damaged; check train.model_type or train.checkpoint_path"
	case e.DType == tensor.BF16:
		return "lower train.lr, set train.clip_grad=3, lengthen train.warmup_iterations, or set distribution.mixed_precision=no"
	}
	return "lower train.lr, set train.clip_grad=3, or lengthen train.warmup_iterations"
}
