package hf

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

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
	Extra        map[string]json.RawMessage
}

var processorKeys = []string{
	"image_processor_type", "feature_extractor_type", "do_resize", "size", "resample", "do_center_crop", "crop_size",
	"do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std", "do_convert_rgb", "processor_class",
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
	kind := f.str("image_processor_type", f.str("feature_extractor_type", ""))
	switch kind {
	case "ViTImageProcessor", "ViTImageProcessorFast", "ViTImageProcessorPil", "ViTFeatureExtractor", "DeiTImageProcessor":
		p.Kind = ViTProcessor
	case "BitImageProcessor", "BitImageProcessorFast", "BitImageProcessorPil", "CLIPImageProcessor":
		p.Kind = BitProcessor
	case "DINOv3ViTImageProcessorFast", "DINOv3ViTImageProcessor":
		p.Kind = DINOv3Processor
	case "":
		p.Kind = DefaultProcessor(nn.ViTConfig{Family: family, Channels: 3, ImageSize: 224}).Kind
	default:
		f.fail("image_processor_type", kind, "ViTImageProcessor, BitImageProcessor or DINOv3ViTImageProcessorFast")
	}
	p.RescaleFirst = p.Kind == DINOv3Processor
	p.Resize = f.boolean("do_resize", true)
	p.Size = f.size("size", map[string]Size{ViTProcessor: {Height: 224, Width: 224}, DINOv3Processor: {Height: 224, Width: 224}, BitProcessor: {ShortestEdge: 224}}[p.Kind], p.Kind == BitProcessor)
	p.Resample = Resample(f.integer("resample", map[string]int{ViTProcessor: 2, DINOv3Processor: 2, BitProcessor: 3}[p.Kind], 0, 5))
	p.CenterCrop = f.boolean("do_center_crop", p.Kind == BitProcessor)
	if p.CenterCrop {
		p.Crop = f.size("crop_size", Size{Height: 224, Width: 224}, false)
	}
	p.Rescale = f.boolean("do_rescale", true)
	p.RescaleFactor = f.number("rescale_factor", 1.0/255)
	p.Normalize = f.boolean("do_normalize", true)
	p.Mean, p.Std = f.floats("image_mean"), f.floats("image_std")
	if p.Mean == nil {
		p.Mean = slices.Clone(map[string][]float64{ViTProcessor: {0.5, 0.5, 0.5}, DINOv3Processor: ImageNetMean, BitProcessor: {0.48145466, 0.4578275, 0.40821073}}[p.Kind])
	}
	if p.Std == nil {
		p.Std = slices.Clone(map[string][]float64{ViTProcessor: {0.5, 0.5, 0.5}, DINOv3Processor: ImageNetStd, BitProcessor: {0.26862954, 0.26130258, 0.27577711}}[p.Kind])
	}
	p.ConvertRGB = f.boolean("do_convert_rgb", p.Kind == BitProcessor)
	if f.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProcessor, f.err)
	}
	return p, p.validate()
}

func (p *Processor) validate() error {
	if len(p.Mean) == 0 || len(p.Mean) != len(p.Std) {
		return fmt.Errorf("%w: image_mean has %d numbers and image_std %d; they need one per channel", ErrProcessor, len(p.Mean), len(p.Std))
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

// size reads {"height", "width"}, {"shortest_edge"} or a bare number, which is a shortest edge or a square.
func (f *fields) size(key string, def Size, shortest bool) Size {
	raw, ok := f.get(key)
	if !ok {
		return def
	}
	if raw[0] != '{' {
		n := f.integer(key, 224, 1, maxPixels)
		if shortest {
			return Size{ShortestEdge: n}
		}
		return Size{Height: n, Width: n}
	}
	o := f.object(key)
	if o == nil {
		return def
	}
	s := Size{Height: o.integer("height", 0, 1, maxPixels), Width: o.integer("width", 0, 1, maxPixels), ShortestEdge: o.integer("shortest_edge", 0, 1, maxPixels)}
	if f.err == nil && o.err != nil {
		f.err = fmt.Errorf("%s: %w", key, o.err)
	}
	if f.err == nil && (s.ShortestEdge > 0) == (s.Height > 0 && s.Width > 0) {
		f.fail(key, shorten(raw), `{"height": h, "width": w} or {"shortest_edge": s}`)
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
		m["do_center_crop"], m["crop_size"], m["do_convert_rgb"] = p.CenterCrop, p.Crop, p.ConvertRGB
	case DINOv3Processor:
		m["do_center_crop"], m["crop_size"] = nil, nil
		if p.CenterCrop {
			m["do_center_crop"], m["crop_size"] = true, p.Crop
		}
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
