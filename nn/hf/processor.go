package hf

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/nn"
)

// ErrProcessor is wrapped by every error about a preprocessor_config.json.
var ErrProcessor = errors.New("image processor config")

// ImageNetMean and ImageNetStd are the usual normalisation of RGB images in [0, 1].
var (
	ImageNetMean = []float64{0.485, 0.456, 0.406}
	ImageNetStd  = []float64{0.229, 0.224, 0.225}
)

// The classes of image processor that published models name.
const (
	ViTProcessor    = "ViTImageProcessor"
	BitProcessor    = "BitImageProcessor"
	DINOv3Processor = "DINOv3ViTImageProcessorFast"
)

// Resample is a Pillow filter code.
type Resample int

// The filters.
const (
	Nearest Resample = iota
	Lanczos
	Bilinear
	Bicubic
	Box
	Hamming
)

// Size is a target size: both sides, or the shortest edge with the aspect ratio kept. Unused members are 0.
type Size struct{ Height, Width, ShortestEdge int }

// Processor is a preprocessor_config.json: what happens to a decoded image before the model sees it.
type Processor struct {
	Kind          string // class name
	Resize        bool
	Size          Size
	Resample      Resample
	CenterCrop    bool
	Crop          Size
	Rescale       bool
	RescaleFactor float64
	Normalize     bool
	Mean, Std     []float64 // one per channel, for values in [0, 1]
	ConvertRGB    bool
	// RescaleFirst: pixels become floats before they are resized, without rounding in between (DINOv3).
	RescaleFirst bool
	// RoundCrop rounds the place of the centre crop to the nearest pixel, and a half to the even one, as torchvision's
	// transforms do, which timm and Meta's repositories use. transformers rounds it down. It is not written, as
	// preprocessor_config.json has no word for it.
	RoundCrop bool
	// File is the file that describes the preprocessing; empty where there is none. Assumed then says what it was
	// taken to be and why.
	File, Assumed string
	Extra         map[string]json.RawMessage
}

// processorKeys are the fields that are read, and those that do not change the pixels of one image: how outputs are
// batched, where they are computed, how inputs that are no pictures are laid out.
var processorKeys = []string{
	"image_processor_type", "feature_extractor_type", "do_resize", "size", "default_to_square", "resample",
	"do_center_crop", "crop_size", "do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std",
	"do_convert_rgb", "do_pad", "processor_class",
}

// processorClass is what a class of image processor does where its file leaves a field out.
type processorClass struct {
	kind      string
	resample  Resample
	size      Size
	square    bool // a bare number as size is a square, not a shortest edge
	crop      bool
	mean, std []float64
	convert   bool
}

var (
	half     = []float64{0.5, 0.5, 0.5}
	clipMean = []float64{0.48145466, 0.4578275, 0.40821073}
	clipStd  = []float64{0.26862954, 0.26130258, 0.27577711}

	vitClass    = processorClass{ViTProcessor, Bilinear, Size{Height: 224, Width: 224}, true, false, half, half, false}
	deitClass   = processorClass{ViTProcessor, Bicubic, Size{Height: 256, Width: 256}, true, true, half, half, false}
	bitClass    = processorClass{BitProcessor, Bicubic, Size{ShortestEdge: 224}, false, true, clipMean, clipStd, true}
	dinov3Class = processorClass{DINOv3Processor, Bilinear, Size{Height: 224, Width: 224}, true, false,
		ImageNetMean, ImageNetStd, false}
)

// classOf finds the class by its name, or by the family where a file names none.
func classOf(name string, family nn.Family) (processorClass, bool) {
	pillow := strings.HasSuffix(name, "Pil")
	for _, ending := range []string{"ImageProcessorFast", "ImageProcessorPil", "ImageProcessor", "FeatureExtractor"} {
		name = strings.TrimSuffix(name, ending)
	}
	switch name {
	case "ViT":
		return vitClass, true
	case "DeiT":
		return deitClass, true
	case "Bit", "CLIP":
		return bitClass, true
	case "DINOv3ViT":
		return dinov3Class, !pillow // transformers has this one for torchvision alone
	case "":
		switch family {
		case nn.FamilyViT:
			return vitClass, true
		case nn.FamilyDINOv3:
			return dinov3Class, true
		}
		return bitClass, true
	}
	return processorClass{}, false
}

// ParseProcessor reads a preprocessor_config.json. family decides the class where the file does not name one.
func ParseProcessor(raw []byte, family nn.Family) (*Processor, error) {
	m, err := parseObject(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProcessor, err)
	}
	f := &fields{m: m}
	p := &Processor{}
	for k, v := range m {
		if !slices.Contains(processorKeys, k) {
			if p.Extra == nil {
				p.Extra = map[string]json.RawMessage{}
			}
			p.Extra[k] = v
		}
	}
	name := f.str("image_processor_type", f.str("feature_extractor_type", ""))
	class, ok := classOf(name, family)
	if !ok {
		f.fail("image_processor_type", name, "ViTImageProcessor, BitImageProcessor or DINOv3ViTImageProcessorFast")
	}
	p.Kind = class.kind
	p.RescaleFirst = p.Kind == DINOv3Processor
	p.Resize = f.boolean("do_resize", true)
	p.Size = f.size("size", class.size, !f.boolean("default_to_square", class.square))
	p.Resample = Resample(f.integer("resample", int(class.resample), 0, 5))
	if p.CenterCrop = f.boolean("do_center_crop", class.crop); p.CenterCrop {
		p.Crop = f.size("crop_size", Size{Height: 224, Width: 224}, false)
		if p.Crop.ShortestEdge > 0 {
			f.fail("crop_size", shorten(m["crop_size"]), `{"height": h, "width": w}`)
		}
	}
	p.Rescale = f.boolean("do_rescale", true)
	p.RescaleFactor = f.number("rescale_factor", 1.0/255)
	p.Normalize = f.boolean("do_normalize", true)
	if p.Mean = f.perChannel("image_mean"); p.Mean == nil {
		p.Mean = slices.Clone(class.mean)
	}
	if p.Std = f.perChannel("image_std"); p.Std == nil {
		p.Std = slices.Clone(class.std)
	}
	p.spread(max(len(p.Mean), len(p.Std)))
	p.ConvertRGB = f.boolean("do_convert_rgb", class.convert)
	if f.boolean("do_pad", false) {
		f.fail("do_pad", true, "false: padding is not supported")
	}
	// A member that is there and null is not one that is missing.
	for _, c := range []struct {
		key    string
		needed bool
	}{
		{"size", p.Resize}, {"resample", p.Resize}, {"crop_size", p.CenterCrop},
		{"image_mean", p.Normalize}, {"image_std", p.Normalize},
	} {
		if string(m[c.key]) == "null" && c.needed {
			f.fail(c.key, "null", "left out or given")
		}
	}
	if f.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProcessor, f.err)
	}
	return p, p.validate()
}

// perChannel reads a list of numbers, one for each channel, or one number for all.
func (f *fields) perChannel(key string) []float64 {
	if raw, ok := f.get(key); ok && raw[0] != '[' {
		return []float64{f.number(key, 0)}
	}
	return f.floats(key)
}

// spread repeats a mean or a deviation that serves all channels for n of them.
func (p *Processor) spread(n int) {
	if len(p.Mean) == 1 {
		p.Mean = slices.Repeat(p.Mean, n)
	}
	if len(p.Std) == 1 {
		p.Std = slices.Repeat(p.Std, n)
	}
}

func (p *Processor) validate() error {
	if len(p.Mean) == 0 || len(p.Mean) != len(p.Std) {
		return fmt.Errorf("%w: image_mean has %d numbers and image_std %d; they need one per channel",
			ErrProcessor, len(p.Mean), len(p.Std))
	}
	for i, s := range p.Std {
		if s <= 0 {
			return fmt.Errorf("%w: image_std[%d] is %g; it must be positive", ErrProcessor, i, s)
		}
	}
	if p.RescaleFactor <= 0 {
		return fmt.Errorf("%w: rescale_factor is %g; it must be positive", ErrProcessor, p.RescaleFactor)
	}
	return nil
}

// size reads {"height", "width"}, {"shortest_edge"}, [height, width] or a bare number, which is a shortest edge or a
// square.
func (f *fields) size(key string, def Size, shortest bool) Size {
	raw, ok := f.get(key)
	if !ok {
		return def
	}
	switch raw[0] {
	case '[':
		var v []json.RawMessage
		if json.Unmarshal(raw, &v) != nil || len(v) != 2 {
			f.fail(key, shorten(raw), "[height, width]")
			return def
		}
		return f.sides(key, &fields{m: map[string]json.RawMessage{"height": v[0], "width": v[1]}})
	case '{':
		o := f.object(key)
		if o == nil {
			return def
		}
		for _, other := range slices.Sorted(keysOf(o.m)) {
			if _, given := o.get(other); given && !slices.Contains([]string{"height", "width", "shortest_edge"}, other) {
				f.fail(key, shorten(raw), fmt.Sprintf(`{"height": h, "width": w} or {"shortest_edge": s}; %s is not supported`, other))
			}
		}
		return f.sides(key, o)
	}
	n := f.integer(key, 224, 1, maxPixels)
	if shortest {
		return Size{ShortestEdge: n}
	}
	return Size{Height: n, Width: n}
}

// sides reads the members of a size.
func (f *fields) sides(key string, o *fields) Size {
	s := Size{
		Height: o.integer("height", 0, 1, maxPixels), Width: o.integer("width", 0, 1, maxPixels),
		ShortestEdge: o.integer("shortest_edge", 0, 1, maxPixels),
	}
	if f.err == nil && o.err != nil {
		f.err = fmt.Errorf("%s: %w", key, o.err)
	}
	if f.err == nil && (s.ShortestEdge > 0) == (s.Height > 0 && s.Width > 0) {
		f.fail(key, shorten(f.m[key]), `{"height": h, "width": w} or {"shortest_edge": s}`)
	}
	return s
}

// DefaultProcessor is the processor of the published models of a family, at the model's image size and with as
// many channels.
func DefaultProcessor(c nn.ViTConfig) *Processor {
	p := &Processor{Resize: true, Rescale: true, RescaleFactor: 1.0 / 255, Normalize: true, Mean: slices.Clone(ImageNetMean), Std: slices.Clone(ImageNetStd)}
	square := Size{Height: c.ImageSize, Width: c.ImageSize}
	switch c.Family {
	case nn.FamilyViT:
		p.Kind, p.Size, p.Resample = ViTProcessor, square, Bicubic
	case nn.FamilyDINOv3:
		p.Kind, p.Size, p.Resample, p.RescaleFirst = DINOv3Processor, square, Bilinear, true
	default:
		p.Kind, p.Resample, p.CenterCrop, p.ConvertRGB = BitProcessor, Bicubic, true, true
		p.Size, p.Crop = Size{ShortestEdge: 256}, Size{Height: 224, Width: 224}
	}
	if c.Channels != 3 {
		p.SetChannels(c.Channels)
	}
	return p
}

// SetChannels makes mean and standard deviation fit n channels, each the average over the present ones.
func (p *Processor) SetChannels(n int) {
	if len(p.Mean) == n {
		return
	}
	mean, std := average(p.Mean), average(p.Std)
	p.Mean, p.Std = slices.Repeat([]float64{mean}, n), slices.Repeat([]float64{std}, n)
	p.ConvertRGB = false
}

func average(v []float64) float64 {
	s := 0.0
	for _, x := range v {
		s += x
	}
	return s / float64(len(v))
}

// String says on one line what becomes of a picture.
func (p *Processor) String() string {
	var parts []string
	if p.Resize {
		size := fmt.Sprintf("%d x %d", p.Size.Height, p.Size.Width)
		if p.Size.ShortestEdge > 0 {
			size = fmt.Sprintf("shortest edge %d", p.Size.ShortestEdge)
		}
		filters := []string{"nearest", "Lanczos", "bilinear", "bicubic", "box", "Hamming"}
		parts = append(parts, fmt.Sprintf("resize to %s (%s)", size, filters[p.Resample]))
	}
	if p.CenterCrop {
		parts = append(parts, fmt.Sprintf("centre crop %d x %d", p.Crop.Height, p.Crop.Width))
	}
	if p.Rescale && p.RescaleFactor != 1.0/255 {
		parts = append(parts, fmt.Sprintf("times %.4g", p.RescaleFactor))
	}
	if !p.Rescale {
		parts = append(parts, "levels 0 to 255")
	}
	if p.Normalize {
		parts = append(parts, fmt.Sprintf("mean %.4g, std %.4g", p.Mean, p.Std))
	}
	return strings.Join(parts, ", ")
}

// Marshal writes a preprocessor_config.json with every field explicit.
func (p *Processor) Marshal() ([]byte, error) {
	m := map[string]any{}
	for k, v := range p.Extra {
		m[k] = v
	}
	maps.Copy(m, map[string]any{
		"image_processor_type": p.Kind, "do_resize": p.Resize, "size": p.Size, "resample": int(p.Resample),
		"do_rescale": p.Rescale, "rescale_factor": float(p.RescaleFactor),
		"do_normalize": p.Normalize, "image_mean": asFloats(p.Mean), "image_std": asFloats(p.Std),
	})
	switch p.Kind {
	case BitProcessor:
		m["do_center_crop"], m["do_convert_rgb"] = p.CenterCrop, p.ConvertRGB
	case DINOv3Processor:
		m["do_center_crop"], m["crop_size"] = nil, nil
	}
	if p.CenterCrop {
		m["do_center_crop"], m["crop_size"] = true, p.Crop
	}
	return marshal(m)
}

func asFloats(v []float64) []float {
	out := make([]float, len(v))
	for i, x := range v {
		out[i] = float(x)
	}
	return out
}

// MarshalJSON writes only the members in use.
func (s Size) MarshalJSON() ([]byte, error) {
	if s.ShortestEdge > 0 {
		return json.Marshal(map[string]int{"shortest_edge": s.ShortestEdge})
	}
	return json.Marshal(map[string]int{"height": s.Height, "width": s.Width})
}
