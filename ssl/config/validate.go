package config

import (
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// Validate checks every field and the combinations of fields. The error is Errors with File "configuration".
func (c *Config) Validate() error {
	return c.check(func(string) place { return place{} }).or()
}

// check is Validate with origin, which returns the file and line that gave a key.
func (c *Config) check(origin func(path string) place) Errors {
	var errs Errors
	add := func(path, value, want, fix string) {
		at := origin(path)
		if at.file == "" {
			at.file = "configuration"
		}
		errs = append(errs, &Error{File: at.file, Line: at.line, Key: path, Value: value, Want: want, Fix: fix})
	}
	standard := defaults()
	for _, f := range fields(c) {
		if strings.HasPrefix(f.path, "model.") && c.Family() == "" {
			continue // the model's own files give the shape
		}
		if !inBounds(f) {
			fix := "the default is " + encode(standard[f.path])
			if strings.HasPrefix(f.path, "model.") {
				fix = "leave the key out to take the shape of train.model_type"
			} else if one := f.tag.Get("oneof"); one != "" {
				if n := nearest(fmt.Sprint(f.value.Interface()), strings.Split(one, "|")); n != "" {
					fix = "did you mean " + n + "?"
				}
			}
			add(f.path, encode(f.value.Interface()), "expected "+f.expectation(), fix)
		}
		if why := f.tag.Get("refused"); why != "" && encode(f.value.Interface()) != encode(standard[f.path]) {
			add(f.path, encode(f.value.Interface()), why, "set "+f.path+"="+encode(standard[f.path]))
		}
	}
	if len(errs) == 0 {
		// Combinations are only worth naming once every value makes sense alone.
		c.checkSchedules(add)
		c.checkModel(add)
		c.checkHeads(add)
		c.checkData(add)
		c.checkNames(add)
	}
	return errs
}

// inBounds checks a leaf against its tags; pairs must also be ascending.
func inBounds(f field) bool {
	v := f.value
	switch x := v.Interface().(type) {
	case string:
		one := f.tag.Get("oneof")
		return one == "" || slices.Contains(strings.Split(one, "|"), x)
	case int:
		return within(f.tag, float64(x))
	case float64:
		return finite(x) && within(f.tag, x)
	case Pair:
		return x[0] <= x[1] && finite(x[0]) && finite(x[1]) && within(f.tag, x[0]) && within(f.tag, x[1])
	case nil:
		return true
	}
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Array {
		for i := range v.Len() {
			if !inBounds(field{f.path, v.Index(i), f.tag}) {
				return false
			}
		}
	}
	return true
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

type addFunc = func(path, value, want, fix string)

func (c *Config) checkSchedules(add addFunc) {
	t := &c.Train
	n := t.MaxIterations
	if t.WarmupIterations >= n {
		add("train.warmup_iterations", fmt.Sprint(t.WarmupIterations), fmt.Sprintf("expected less than train.max_iterations (%d)", n),
			fmt.Sprintf("set train.warmup_iterations=%d, or a longer run", n/10))
	}
	if t.WarmupTeacherTempIterations > n {
		add("train.warmup_teacher_temp_iterations", fmt.Sprint(t.WarmupTeacherTempIterations),
			fmt.Sprintf("expected at most train.max_iterations (%d)", n),
			fmt.Sprintf("set train.warmup_teacher_temp_iterations=%d, or a longer run", n*3/10))
	}
	if t.FreezeLastLayer >= n {
		add("train.freeze_last_layer", fmt.Sprint(t.FreezeLastLayer),
			fmt.Sprintf("expected less than train.max_iterations (%d), or the last layer is never trained", n),
			fmt.Sprintf("set train.freeze_last_layer=%d, or a longer run", n/50))
	}
	if t.MinLR > t.LR {
		add("train.min_lr", encode(t.MinLR), "expected at most train.lr ("+encode(t.LR)+")", "lower train.min_lr")
	}
	if t.FinalMomentumTeacher < t.MomentumTeacher {
		add("train.final_momentum_teacher", encode(t.FinalMomentumTeacher),
			"expected at least train.momentum_teacher ("+encode(t.MomentumTeacher)+")", "the usual end is 1")
	}
}

func (c *Config) checkModel(add addFunc) {
	m, t := &c.Model, &c.Train
	if c.Family() == "" {
		if t.ModelType == "" || !strings.ContainsAny(t.ModelType, "/\\.") {
			fix := "use a hub id such as facebook/dinov2-base, a folder, or one of " + strings.Join(families, ", ")
			if n := nearest(t.ModelType, families); n != "" {
				fix = "did you mean " + n + "?"
			} else if n := nearest("facebook/"+t.ModelType, KnownModels()); n != "" {
				fix = "did you mean " + n + "?"
			}
			add("train.model_type", encode(t.ModelType), "unknown model", fix)
		}
		return
	}
	if m.HiddenSize%m.NumAttentionHeads != 0 {
		add("model.num_attention_heads", fmt.Sprint(m.NumAttentionHeads),
			fmt.Sprintf("expected a divisor of model.hidden_size (%d)", m.HiddenSize),
			headsFor(m.HiddenSize))
	} else if d := m.HiddenSize / m.NumAttentionHeads; m.RopeTheta > 0 && d%4 != 0 {
		add("model.num_attention_heads", fmt.Sprint(m.NumAttentionHeads),
			fmt.Sprintf("expected a head width that is a multiple of 4 for rotary positions, not %d", d), "change the number of heads")
	}
	if t.CheckpointPath == "" { // else the patch size is the checkpoint's, which CheckPatch is told
		c.checkPatch(add, m.PatchSize, "")
		checkMultiple(add, "model.image_size", m.ImageSize, m.PatchSize, "")
	}
	if m.RopeTheta == 0 && (m.PosEmbedShift != 0 || m.PosEmbedJitter != 0 || m.PosEmbedRescale != 0) {
		add("model.rope_theta", "0", "expected rotary positions, which pos_embed_shift, _jitter and _rescale change",
			"set model.rope_theta=100, or those three to 0")
	}
	for _, p := range []struct {
		key    string
		factor float64
	}{{"model.pos_embed_jitter", m.PosEmbedJitter}, {"model.pos_embed_rescale", m.PosEmbedRescale}} {
		if p.factor != 0 && p.factor < 1 {
			add(p.key, encode(p.factor), "expected 0 (off) or a factor of at least 1", "set "+p.key+"=2")
		}
	}
	if t.FreezeBackboneLayers > m.NumHiddenLayers {
		add("train.freeze_backbone_layers", fmt.Sprint(t.FreezeBackboneLayers),
			fmt.Sprintf("expected at most model.num_hidden_layers (%d)", m.NumHiddenLayers), "freeze fewer blocks")
	}
}

// CheckPatch checks the sizes of the crops against the patch size of the weights that a run starts from, which key names
// (train.model_type or train.checkpoint_path). The error is Errors with File "configuration".
func (c *Config) CheckPatch(patch int, key string) error {
	var errs Errors
	c.checkPatch(func(path, value, want, fix string) {
		errs = append(errs, &Error{File: "configuration", Key: path, Value: value, Want: want, Fix: fix})
	}, patch, " of the weights of "+key)
	return errs.or()
}

func (c *Config) checkPatch(add addFunc, patch int, whose string) {
	checkMultiple(add, "crops.global_crops_size", c.Crops.GlobalCropsSize, patch, whose)
	if c.Crops.LocalCropsNumber > 0 {
		checkMultiple(add, "crops.local_crops_size", c.Crops.LocalCropsSize, patch, whose)
	}
}

func checkMultiple(add addFunc, key string, size, patch int, whose string) {
	if size%patch != 0 {
		near := max(patch, (size+patch/2)/patch*patch)
		add(key, fmt.Sprint(size), fmt.Sprintf("expected a multiple of the patch size %d%s", patch, whose), fmt.Sprintf("set %s=%d", key, near))
	}
}

func (c *Config) checkHeads(add addFunc) {
	d, i, t := &c.DinoHead, &c.IBOT, &c.Train
	if d.LossWeight == 0 && i.LossWeight == 0 {
		add("dino_head.loss_weight", "0", "expected a loss to minimise", "set dino_head.loss_weight=1 or ibot.loss_weight=1")
	}
	if i.LossWeight > 0 {
		if !t.IBOTSeparateHead && i.OutDim != d.OutDim {
			add("ibot.out_dim", fmt.Sprint(i.OutDim), fmt.Sprintf("expected dino_head.out_dim (%d), because the head is shared", d.OutDim),
				fmt.Sprintf("set ibot.out_dim=%d, or train.ibot_separate_head=true", d.OutDim))
		}
		if i.MaskSampleProbability == 0 {
			add("ibot.mask_sample_probability", "0", "expected above 0, because ibot.loss_weight is", "set ibot.mask_sample_probability=0.5")
		}
		if i.MaskRatioMinMax[1] == 0 {
			add("ibot.mask_ratio_min_max", encode(i.MaskRatioMinMax), "expected a high end above 0, because ibot.loss_weight is",
				"set ibot.mask_ratio_min_max=[0.1, 0.5]")
		}
	}
	batch, batchKey := t.GlobalBatchSize, "train.global_batch_size"
	if t.BatchSizePerGPU > 0 {
		batch, batchKey = t.BatchSizePerGPU, "train.batch_size_per_gpu"
	}
	if c.KoLeo.LossWeight > 0 && batch < 2 {
		add(batchKey, fmt.Sprint(batch), "expected at least 2, because koleo.loss_weight is above 0 and needs a neighbour",
			"set "+batchKey+"=2, or koleo.loss_weight=0")
	}
	if t.UsePretrained && t.CheckpointPath != "" {
		add("train.checkpoint_path", encode(t.CheckpointPath), "expected to be empty while train.use_pretrained is true",
			"set train.use_pretrained=false to start from this folder")
	}
}

func (c *Config) checkData(add addFunc) {
	d, cr := &c.Dataset, &c.Crops
	if cr.LocalCropsNumber > 0 && cr.LocalCropsSize > cr.GlobalCropsSize {
		add("crops.local_crops_size", fmt.Sprint(cr.LocalCropsSize), fmt.Sprintf("expected at most crops.global_crops_size (%d)", cr.GlobalCropsSize),
			"exchange the two sizes")
	}
	if d.Path == "" {
		add("dataset.dataset_path", `""`, "expected a folder, a file or embedded:fashion-mnist", "set it, or give --data DIR")
	}
	if len(d.Mean) != len(d.Std) {
		add("dataset.std", encode(d.Std), fmt.Sprintf("expected as many values as dataset.mean has (%d)", len(d.Mean)), "give both for every channel")
	} else if n := c.Model.NumChannels; c.Family() != "" && n > 0 && len(d.Mean) > 1 && len(d.Mean) != n {
		add("dataset.mean", encode(d.Mean), fmt.Sprintf("expected 1 value or one for each of the %d channels", n), "or set model.num_channels")
	}
}

func (c *Config) checkNames(add addFunc) {
	if n := c.Train.ModelName; n == "" || n == "." || n == ".." || strings.ContainsAny(n, "/\\\x00") {
		add("train.model_name", encode(n), "expected the name of a folder, without slashes", "set train.model_name=my_run")
	}
	o := &c.Output
	if o.MainOutput == "" || strings.ContainsRune(o.MainOutput, 0) {
		add("output_folders.main_output", encode(o.MainOutput), "expected a folder", "set output_folders.main_output=outputs")
	}
	seen := map[string]string{"config.yaml": "config.yaml", "metrics.jsonl": "metrics.jsonl", "summary.json": "summary.json"}
	for _, f := range []struct{ key, name string }{
		{"output_folders.train_checkpoint_dir", o.TrainCheckpointDir},
		{"output_folders.teacher_checkpoint_dir", o.TeacherCheckpointDir},
		{"output_folders.training_samples_dir", o.TrainingSamplesDir},
		{"output_folders.training_results_dir", o.TrainingResultsDir},
		{"output_folders.log_dir", o.LogDir},
	} {
		if !filepath.IsLocal(f.name) || filepath.Clean(f.name) == "." {
			add(f.key, encode(f.name), "expected a folder below the run folder", "the default is "+strings.TrimPrefix(f.key, "output_folders."))
			continue
		}
		if other, taken := seen[filepath.Clean(f.name)]; taken {
			add(f.key, encode(f.name), "expected a name of its own, "+other+" has it already", "choose another name")
		}
		seen[filepath.Clean(f.name)] = f.key
	}
}

// headsFor advises on the number of heads for a width that the given one does not divide.
func headsFor(width int) string {
	if width%64 == 0 {
		return fmt.Sprintf("use %d heads of 64 channels, or another width", width/64)
	}
	near := max(64, (width+32)/64*64)
	return fmt.Sprintf("set model.hidden_size=%d for heads of 64 channels, or another number of heads", near)
}
