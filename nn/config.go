package nn

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels"
)

// Family selects parameter names and initial values. What the model computes is said by the other fields.
type Family uint8

// The families of published self-supervised vision transformers, by their Hugging Face model_type.
const (
	FamilyViT             Family = iota // "vit": DINO v1
	FamilyDINOv2                        // "dinov2"; UNI and GigaPath fit it
	FamilyDINOv2Registers               // "dinov2_with_registers"
	FamilyDINOv3                        // "dinov3_vit"
)

var familyNames = [...]string{"vit", "dinov2", "dinov2_with_registers", "dinov3_vit"}

// String is the Hugging Face model_type.
func (f Family) String() string { return familyNames[f] }

// Interpolation is the rule by which a position table is resampled to another grid.
type Interpolation uint8

// The rules in use. All are bicubic.
const (
	// InterpolateSize maps grid to grid without antialiasing (a = -0.75): Hugging Face vit and dinov2 today.
	InterpolateSize Interpolation = iota
	// InterpolateOffset takes (g+0.1)/M as the scale factor: Meta's DINO and DINOv2 code.
	InterpolateOffset
	// InterpolateAntialias maps grid to grid with a widened kernel (a = -0.5): models with registers, timm.
	InterpolateAntialias
)

// RoPEConfig describes rotary positions. A Theta of 0 means none, and a position table is used.
type RoPEConfig struct {
	Theta float64
	// Periods overrides the dh/4 periods derived from Theta (in units of the normalised coordinate times 2π).
	Periods []float64
	// Shift, Jitter and Rescale randomise coordinates in training (0 or, for the last two, 1 switch them off).
	Shift, Jitter, Rescale float64
	// PerBlock draws anew for every block, as Meta's code does, rather than once per forward pass.
	PerBlock bool
}

// DropPathConfig is stochastic depth in training.
type DropPathConfig struct {
	Rate float64
	// Linear grows the rate from 0 at the first block to Rate at the last; otherwise it is the same everywhere.
	Linear bool
	// Subset runs each branch on max(int(B·(1-p)), 1) crops of every group and scales the result by B/subset,
	// rather than zeroing branches crop by crop.
	Subset bool
}

// ViTConfig describes a vision transformer.
type ViTConfig struct {
	Family    Family
	Channels  int
	PatchSize int
	ImageSize int // side of the grid the position table was made for, in pixels
	Dim       int
	Depth     int
	Heads     int
	MLPDim    int // hidden width; for a gated MLP the width of each half
	Gated     bool
	Act       kernels.Activation // of the MLP; a gated one needs the names of DINOv3 unless it is SiLU
	NormEps   float64

	QueryBias, KeyBias, ValueBias bool
	ProjBias, MLPBias             bool

	LayerScale     bool
	LayerScaleInit float64
	Registers      int
	MaskToken      bool
	// NoEmbedClass: the position table has no row for CLS.
	NoEmbedClass  bool
	Interpolation Interpolation
	RoPE          RoPEConfig
	Pooler        bool // tanh(dense(CLS)), vit only
	DropPath      DropPathConfig
}

// Grid is the side of the trained position grid in patches.
func (c ViTConfig) Grid() int { return c.ImageSize / c.PatchSize }

// Prefix is the number of tokens before the patches: CLS and registers.
func (c ViTConfig) Prefix() int { return 1 + c.Registers }

// Validate reports the first field that makes no model.
func (c ViTConfig) Validate() error {
	bad := func(field string, value any, want string) error {
		return fmt.Errorf("model config (%s): %s is %v; it must be %s", c.Family, field, value, want)
	}
	switch {
	case int(c.Family) >= len(familyNames):
		return fmt.Errorf("model config: unknown family %d", c.Family)
	case c.Channels < 1:
		return bad("num_channels", c.Channels, "at least 1")
	case c.PatchSize < 1:
		return bad("patch_size", c.PatchSize, "at least 1")
	case c.Dim < 1 || c.Heads < 1 || c.Dim%c.Heads != 0:
		return bad("hidden_size", c.Dim, fmt.Sprintf("a positive multiple of num_attention_heads, which is %d", c.Heads))
	case c.Depth < 1:
		return bad("num_hidden_layers", c.Depth, "at least 1")
	case c.MLPDim < 1:
		return bad("intermediate_size", c.MLPDim, "at least 1")
	case c.Gated && c.Act != kernels.SiLU && c.Family != FamilyDINOv3:
		return bad("gated MLP", c.Gated, "false where the activation is not SiLU")
	case c.NormEps <= 0:
		return bad("layer_norm_eps", c.NormEps, "positive")
	case c.Registers < 0:
		return bad("num_register_tokens", c.Registers, "0 or more")
	case c.RoPE.Theta < 0:
		return bad("rope_theta", c.RoPE.Theta, "positive")
	case c.RoPE.Theta > 0 && c.Dim%(4*c.Heads) != 0:
		return bad("hidden_size", c.Dim, fmt.Sprintf("a multiple of 4·num_attention_heads (%d) for rotary positions", 4*c.Heads))
	case len(c.RoPE.Periods) > 0 && len(c.RoPE.Periods) != c.Dim/c.Heads/4:
		return bad("rope periods", len(c.RoPE.Periods), fmt.Sprintf("%d numbers", c.Dim/c.Heads/4))
	case c.RoPE.Theta == 0 && c.ImageSize < c.PatchSize:
		return bad("image_size", c.ImageSize, fmt.Sprintf("at least patch_size, which is %d", c.PatchSize))
	case c.DropPath.Rate < 0 || c.DropPath.Rate >= 1:
		return bad("drop_path_rate", c.DropPath.Rate, "in [0, 1)")
	case c.Pooler && c.Family != FamilyViT:
		return bad("pooler", c.Pooler, "false: only vit has one")
	}
	return nil
}
