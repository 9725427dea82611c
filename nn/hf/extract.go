package hf

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// Extracted is a LoRA adapter made from the difference of two models.
type Extracted struct {
	Tensors []safetensors.Tensor
	// Lost is, for every adapted module, the fraction of the squared norm of its difference that the adapter's rank
	// leaves out.
	Lost map[string]float64
	// Outside lists the other tensors that differ, which the adapter does not change.
	Outside []string
}

// Extract returns the LoRA adapter that approximates the difference of tuned and base best: for every targeted module
// the truncated singular value decomposition U·S·Vᵀ of the weights' difference, with B = U·√S and A = √S·Vᵀ (Eckart
// and Young, 1936). lora_alpha is set to the rank, so that the scale is one.
func Extract(base, tuned *Checkpoint, cfg *AdapterConfig, names AdapterNames) (*Extracted, error) {
	if base.Config.Family != tuned.Config.Family {
		return nil, fmt.Errorf("%s is a %s model and %s a %s model", base.Path, base.Config.Family, tuned.Path, tuned.Config.Family)
	}
	family := base.Config.Family
	cfg.Alpha, cfg.RSLoRA, cfg.Dropout = float64(cfg.Rank), false, 0
	out := &Extracted{Lost: map[string]float64{}}
	matched := false
	for _, s := range specs(base.Config.ViTConfig) {
		a, b := base.view.entries[s.name], tuned.view.entries[s.name]
		if a == nil || b == nil || !a.info.Shape.Equal(b.info.Shape) {
			return nil, fmt.Errorf("tensor %s is missing from one model or has another shape in it", s.name)
		}
		if s.shape.Len() == 0 {
			continue
		}
		x, err := floats(base, a.info)
		if err != nil {
			return nil, err
		}
		y, err := floats(tuned, b.info)
		if err != nil {
			return nil, err
		}
		norm := 0.0
		diff := make([]float64, len(x))
		for i := range x {
			diff[i] = float64(y[i]) - float64(x[i])
			norm += diff[i] * diff[i]
		}
		module, isWeight := cutWeight(s)
		if !isWeight || !cfg.matches(family, module) {
			if norm > 0 {
				out.Outside = append(out.Outside, s.name)
			}
			continue
		}
		matched = true
		lost, ta, tb, err := factor(diff, norm, s.shape, cfg.Rank)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		out.Lost[module] = lost
		name := module
		if names == AdapterNames5 {
			name = memoryName(family, module)
		}
		out.Tensors = append(out.Tensors, safetensors.FromTensor(adapterPrefix+name+".lora_A.weight", ta), safetensors.FromTensor(adapterPrefix+name+".lora_B.weight", tb))
	}
	if !matched {
		return nil, fmt.Errorf("%w: target_modules match no linear layer of the model (%s)", ErrAdapter, family)
	}
	return out, nil
}

// cutWeight tells a linear layer's or the patch embedding's weight and its module from other tensors.
func cutWeight(s spec) (module string, ok bool) {
	const suffix = ".weight"
	if len(s.shape) != 2 && len(s.shape) != 4 || len(s.name) <= len(suffix) || s.name[len(s.name)-len(suffix):] != suffix {
		return "", false
	}
	return s.name[:len(s.name)-len(suffix)], true
}

// factor makes A [r, in] and B [out, r] of one difference, in the shapes PEFT gives them.
func factor(diff []float64, norm float64, shape tensor.Shape, rank int) (lost float64, a, b *tensor.Tensor, err error) {
	rows := shape[0]
	cols := len(diff) / rows
	aShape, bShape := []int{rank, cols}, []int{rows, rank}
	if len(shape) == 4 {
		aShape, bShape = []int{rank, shape[1], shape[2], shape[3]}, []int{rows, rank, 1, 1}
	}
	a, b = tensor.Zeros(tensor.F32, aShape...), tensor.Zeros(tensor.F32, bShape...)
	if norm == 0 {
		return 0, a, b, nil
	}
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		return 0, nil, nil, fmt.Errorf("the difference is not finite")
	}
	var svd mat.SVD
	if !svd.Factorize(mat.NewDense(rows, cols, diff), mat.SVDThin) {
		return 0, nil, nil, fmt.Errorf("the singular value decomposition did not converge")
	}
	var u, v mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	s := svd.Values(nil)
	kept := 0.0
	for r := range min(rank, len(s)) {
		kept += s[r] * s[r]
		q := math.Sqrt(s[r])
		for i := range rows {
			b.F32()[i*rank+r] = float32(u.At(i, r) * q)
		}
		for j := range cols {
			a.F32()[r*cols+j] = float32(v.At(j, r) * q)
		}
	}
	return max(0, 1-kept/norm), a, b, nil
}

// Save writes the extracted adapter as a PEFT folder.
func (e *Extracted) Save(dir string, cfg *AdapterConfig, family nn.Family) error {
	return saveAdapter(dir, e.Tensors, cfg, family)
}
