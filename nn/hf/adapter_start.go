package hf

import (
	"fmt"
	"runtime"
	"sync"

	"gonum.org/v1/gonum/mat"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// subtractStart takes out of the base weights what PEFT moved into the adapters when they were created, as PEFT does
// when it loads them. With P the orthonormal basis that startBasis finds for a weight W [out, in], W becomes
// W - P·Pᵀ·W. For PiSSA that is scale·B₀·A₀ of the truncated singular value decomposition, for OLoRA it is scale times
// Q_r·R_r of the QR decomposition.
func subtractStart(b kernels.Backend, v *nn.ViT, adapters []*nn.Adapter, start AdapterStart) error {
	if start == StartPlain {
		return nil
	}
	errs := make([]error, len(adapters))
	params := make([]*nn.Param, len(adapters))
	weights := make([]*tensor.Tensor, len(adapters))
	for i, a := range adapters {
		p := v.Params.ByName(a.Module + ".weight")
		if len(p.Shape) != 2 {
			return fmt.Errorf("%s is a convolution, which PEFT does not start as init_lora_weights says", a.Module)
		}
		params[i], weights[i] = p, kernels.ToHost(b, p.Value())
	}
	if err := b.Sync(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, a := range adapters {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			scale := 1.0
			if start == StartOLoRA {
				scale = a.Scale
			}
			if err := subtractProjection(weights[i], a.A.Dim(0), scale, start); err != nil {
				errs[i] = fmt.Errorf("%s: %w", a.Module, err)
			}
		})
	}
	wg.Wait()
	for i, p := range params {
		if errs[i] != nil {
			return errs[i]
		}
		if !kernels.OnHost(b) {
			b.Upload(p.Value(), weights[i])
		}
	}
	return b.Sync()
}

// subtractProjection replaces w [out, in] by w - scale·P·Pᵀ·w.
func subtractProjection(w *tensor.Tensor, rank int, scale float64, start AdapterStart) error {
	out, in := w.Dim(0), w.Dim(1)
	if rank > min(out, in) {
		return fmt.Errorf("rank %d of a weight of %s; init_lora_weights allows at most %d", rank, w.Shape(), min(out, in))
	}
	x := mat.NewDense(out, in, nil)
	for i := range out {
		for j := range in {
			x.Set(i, j, w.At(i*in+j))
		}
	}
	p, err := startBasis(x, rank, start)
	if err != nil {
		return err
	}
	var inner, projection mat.Dense
	inner.Mul(p.T(), x)
	projection.Mul(p, &inner)
	for i := range out {
		for j := range in {
			w.Set(i*in+j, x.At(i, j)-scale*projection.At(i, j))
		}
	}
	return nil
}

// startBasis is an orthonormal basis [out, rank] of what a start moves into the adapter: the span of the first rank
// left singular vectors for PiSSA, of the first rank columns for OLoRA.
func startBasis(w *mat.Dense, rank int, start AdapterStart) (mat.Matrix, error) {
	out, _ := w.Dims()
	var basis mat.Dense
	if start == StartOLoRA {
		var qr mat.QR
		qr.Factorize(w.Slice(0, out, 0, rank))
		qr.QTo(&basis)
	} else {
		var svd mat.SVD
		if !svd.Factorize(w, mat.SVDThinU) {
			return nil, fmt.Errorf("the singular value decomposition of the base weight did not converge")
		}
		svd.UTo(&basis)
	}
	return basis.Slice(0, out, 0, rank), nil
}
