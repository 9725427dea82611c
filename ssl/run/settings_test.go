package run

import (
	"fmt"
	"testing"

	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl"
	"github.com/dino-mx/dmx/ssl/config"
)

func settingsOf(t *testing.T, recipe string, overrides ...string) *ssl.Settings {
	t.Helper()
	c, err := config.Load(recipe, overrides...)
	if err != nil {
		t.Fatal(err)
	}
	channels := max(c.Model.NumChannels, 1)
	v, err := vitConfig(c, channels)
	if err != nil {
		t.Fatal(err)
	}
	s, err := settings(c, v)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEveryRecipeIsAValidTraining(t *testing.T) {
	for _, name := range append(config.Recipes(), "") {
		if err := settingsOf(t, name).Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The values in the log line that the DINO-MX paper prints for iteration 16 of 2,000.
func TestSchedulesGiveThePapersLogLine(t *testing.T) {
	s := settingsOf(t, "", "train.max_iterations=2000", "train.warmup_iterations=1000", "train.momentum_teacher=0.996")
	const i = 16
	got := fmt.Sprintf("LR: %.6f Weight Decay: %.6f Teacher momentum: %.6f", s.Schedules.LR.At(i), s.Schedules.WeightDecay.At(i), s.Schedules.Momentum.At(i))
	if want := "LR: 0.000002 Weight Decay: 0.040057 Teacher momentum: 0.996001"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTemperatureWarmsUpInEveryRecipe(t *testing.T) {
	for _, recipe := range []string{"dino", "dinov2", "dinov3"} {
		s := settingsOf(t, recipe, "train.warmup_teacher_temp=0.02", "train.teacher_temp=0.06", "train.warmup_teacher_temp_iterations=101")
		for i, want := range map[int]float64{0: .02, 50: .04, 100: .06, 5000: .06} {
			if got := s.Schedules.TeacherTemp.At(i); got < want-1e-9 || got > want+1e-9 {
				t.Errorf("%s: temperature at %d is %v, want %v", recipe, i, got, want)
			}
		}
	}
}

func TestKeysReachTheTrainer(t *testing.T) {
	base := func(extra ...string) *ssl.Settings { return settingsOf(t, "dinov2", extra...) }
	for _, c := range []struct {
		override string
		reached  func(s *ssl.Settings) bool
	}{
		{"train.batch_size_per_gpu=7", func(s *ssl.Settings) bool { return s.Batch == 7 }},
		{"train.centering=sinkhorn_knopp", func(s *ssl.Settings) bool { return s.Targets.Sinkhorn }},
		{"train.ibot_separate_head=true", func(s *ssl.Settings) bool { return s.IBOT.Head != nil && s.IBOT.Head.Prototypes == 65536 }},
		{"ibot.mask_target=exact", func(s *ssl.Settings) bool { return s.IBOT.Mask.Exact }},
		{"dino_head.norm_last_layer=true", func(s *ssl.Settings) bool { return s.DINO.Head.FreezeGain }},
		{"dino_head.weight_norm=false", func(s *ssl.Settings) bool { return !s.DINO.Head.WeightNorm }},
		{"train.freeze_backbone_layers=6", func(s *ssl.Settings) bool { return s.FreezeBlocks == 6 }},
		{"optim.clip_scope=tensor", func(s *ssl.Settings) bool { return s.Optim.Clip == optim.ClipPerParameter }},
		{"optim.last_layer_freeze=drop_gradient", func(s *ssl.Settings) bool { return s.Schedules.LastLayer == optim.LastLayerSkipped }},
		{"model.num_register_tokens=4", func(s *ssl.Settings) bool { return s.Backbone.Registers == 4 }},
		{"train.seed=9", func(s *ssl.Settings) bool { return s.Seed == 9 }},
		{"train.gradient_checkpointing_enable=true", func(s *ssl.Settings) bool { return s.Recompute }},
		{"model.use_swiglu_ffn=true", func(s *ssl.Settings) bool { return s.Backbone.Gated && s.Backbone.MLPDim == 1024 }},
	} {
		if c.reached(base()) {
			t.Errorf("%s changes nothing: it holds without", c.override)
		}
		if !c.reached(base(c.override)) {
			t.Errorf("%s does not reach the trainer", c.override)
		}
	}
}

func TestChannelsMustBeThoseOfTheData(t *testing.T) {
	c, err := config.Load("dino")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vitConfig(c, 1); err == nil {
		t.Error("a 3-channel model took 1-channel images")
	}
	c.Model.NumChannels = 0
	if v, err := vitConfig(c, 5); err != nil || v.Channels != 5 {
		t.Errorf("%v, %v", v.Channels, err)
	}
}
