package run

import (
	"context"
	"fmt"
	"os"

	"github.com/dino-mx/dmx/data/augment"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/hf"
	"github.com/dino-mx/dmx/nn/hf/hub"
	"github.com/dino-mx/dmx/ssl"
	"github.com/dino-mx/dmx/ssl/config"
)

// initial is where the backbone's shape and first weights come from: the configuration and a random draw, or a
// model in Hugging Face form: a folder, or a repository of the hub or its cache.
type initial struct {
	config  nn.ViTConfig
	weights *hf.Checkpoint // nil for a random draw
	report  *hf.Report     // of loading them, once they are loaded
	allow   hf.Allow
}

// whenDefault says that a model was not named by the user, where it was not.
func whenDefault(model string) string {
	if model == config.Default().Train.ModelType {
		return "this is the default of DINO-MX, as no model was named; "
	}
	return ""
}

// openInitial finds the shape and, where the configuration asks for them, the weights. Unless the configuration says
// how many channels there are, the images get those of the weights.
func openInitial(ctx context.Context, c *config.Config, im *images, say func(level, message string)) (*initial, error) {
	t := &c.Train
	path := t.CheckpointPath
	key := "train.checkpoint_path"
	if t.UsePretrained {
		key = "train.model_type"
		client, err := hub.FromEnv(os.Getenv)
		if err == nil {
			client.Progress = func(file string, done, total int64) {
				if done == total {
					say("INFO", fmt.Sprintf("downloaded %s of %s (%.1f MB)", file, t.ModelType, float64(total)/1e6))
				}
			}
			path, err = client.Resolve(ctx, t.ModelType)
		}
		if err != nil {
			return nil, fmt.Errorf("train.model_type: %w; %sgive a model folder, or set train.use_pretrained=false to start from random weights",
				err, whenDefault(t.ModelType))
		}
	}
	if path == "" {
		v, err := vitConfig(c, im.train.Channels())
		return &initial{config: v}, err
	}
	options, err := openOptions(t)
	if err != nil {
		return nil, err
	}
	w, err := OpenModel(path, options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if err := c.CheckPatch(w.Config.PatchSize, key); err != nil {
		w.Close()
		return nil, err
	}
	if why := w.Config.Assumed; why != "" {
		say("INFO", key+": "+why)
	}
	if why := w.Processor.Assumed; why != "" && len(c.Dataset.Mean) == 0 {
		say("INFO", "dataset.mean, dataset.std: "+why)
	}
	if c.Model.NumChannels == 0 {
		if err := im.setChannels(w.Config.Channels); err != nil {
			w.Close()
			return nil, err
		}
	}
	if channels := im.train.Channels(); w.Config.Channels != channels {
		if err := w.SetChannels(channels); err != nil {
			w.Close()
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	in := &initial{
		config: w.Config.ViTConfig, weights: w,
		allow: hf.Allow{Missing: t.CheckpointAllowMissing, Unexpected: t.CheckpointAllowUnexpected},
	}
	if in.config.DropPath, err = dropPathOf(c); err != nil {
		w.Close()
		return nil, err
	}
	in.config.MaskToken = in.config.MaskToken || c.IBOT.LossWeight > 0
	in.config.Pooler = false
	return in, nil
}

// openOptions says how the checkpoint that a run starts from is read.
func openOptions(t *config.Train) (hf.OpenOptions, error) {
	rule, err := checkpointInterpolation.value(t.CheckpointInterpolation)
	return hf.OpenOptions{Branch: t.CheckpointBranch, Heads: t.CheckpointHeads, Interpolation: rule}, err
}

// source returns what fills the student's backbone with the weights, nil for a random draw. What the file does not have
// and training needs, such as a mask token, stays as it was drawn.
func (in *initial) source(b kernels.Backend) func(n *ssl.Network) error {
	if in.weights == nil {
		return nil
	}
	return func(n *ssl.Network) (err error) {
		if in.report, err = in.weights.Load(n.Backbone.Params, b, in.allow); err != nil {
			return fmt.Errorf("initial weights: %w", err)
		}
		return nil
	}
}

func (in *initial) close() {
	if in.weights != nil {
		in.weights.Close()
	}
}

// exportTeacher writes the teacher's backbone in Hugging Face form.
func (s *session) exportTeacher(dir string) error {
	v := s.trainer.Teacher.Backbone
	side, size := s.c.Crops.GlobalCropsSize, s.c.Dataset.Size
	// BitImageProcessor is the class that knows a shortest edge with a centre crop.
	proc := &hf.Processor{
		Kind: hf.BitProcessor, Resize: true, Resample: hf.Bicubic, Rescale: true, RescaleFactor: 1.0 / 255, Normalize: true,
		Mean: perChannel(s.pictures.mean, v.Config.Channels), Std: perChannel(s.pictures.std, v.Config.Channels),
		ConvertRGB: v.Config.Channels == 3, Size: hf.Size{ShortestEdge: max(side, min(size[0], size[1]))}, CenterCrop: true, Crop: hf.Size{Height: side, Width: side},
	}
	filter, err := interpolation.value(s.c.Augment.Interpolation)
	if err != nil {
		return err
	}
	if filter == augment.Bilinear {
		proc.Resample = hf.Bilinear
	}
	if s.c.Dataset.Resize {
		proc.Kind, proc.Size, proc.CenterCrop = hf.ViTProcessor, hf.Size{Height: size[0], Width: size[1]}, false
	}
	return hf.Save(dir, v, s.backend, &hf.Config{ViTConfig: v.Config}, proc, hf.SaveOptions{Pooler: true})
}

// perChannel repeats a single value for every channel.
func perChannel(x []float64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = x[min(i, len(x)-1)]
	}
	return out
}
