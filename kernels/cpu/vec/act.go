package vec

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
)

// Activate is dst = act(x); dst may be x. The error is within 1e-6 of the largest of 1 and the result, and a few
// units of the last place in the tails.
func Activate(dst, x []float32, act kernels.Activation) {
	switch act {
	case kernels.GELU:
		gelu(dst, x)
	case kernels.GELUTanh:
		geluTanh(dst, x)
	case kernels.QuickGELU:
		quickGELU(dst, x)
	case kernels.SiLU:
		silu(dst, x)
	case kernels.ReLU:
		relu(dst, x)
	case kernels.Tanh:
		tanh(dst, x)
	default:
		copy(dst, x)
	}
}

// ActivateGrad is dx = dy·act'(x); dx may be dy or x.
func ActivateGrad(dx, dy, x []float32, act kernels.Activation) {
	switch act {
	case kernels.GELU:
		geluGrad(dx, dy, x)
	case kernels.GELUTanh:
		geluTanhGrad(dx, dy, x)
	case kernels.QuickGELU:
		quickGELUGrad(dx, dy, x)
	case kernels.SiLU:
		siluGrad(dx, dy, x)
	case kernels.ReLU:
		reluGrad(dx, dy, x)
	case kernels.Tanh:
		tanhGrad(dx, dy, x)
	default:
		copy(dx, dy)
	}
}

func geluGo(dst, x []float32)      { activateGo(dst, x, kernels.GELU) }
func geluTanhGo(dst, x []float32)  { activateGo(dst, x, kernels.GELUTanh) }
func quickGELUGo(dst, x []float32) { activateGo(dst, x, kernels.QuickGELU) }
func siluGo(dst, x []float32)      { activateGo(dst, x, kernels.SiLU) }
func reluGo(dst, x []float32)      { activateGo(dst, x, kernels.ReLU) }
func tanhGo(dst, x []float32)      { activateGo(dst, x, kernels.Tanh) }

func geluGradGo(dx, dy, x []float32)      { activateGradGo(dx, dy, x, kernels.GELU) }
func geluTanhGradGo(dx, dy, x []float32)  { activateGradGo(dx, dy, x, kernels.GELUTanh) }
func quickGELUGradGo(dx, dy, x []float32) { activateGradGo(dx, dy, x, kernels.QuickGELU) }
func siluGradGo(dx, dy, x []float32)      { activateGradGo(dx, dy, x, kernels.SiLU) }
func reluGradGo(dx, dy, x []float32)      { activateGradGo(dx, dy, x, kernels.ReLU) }
func tanhGradGo(dx, dy, x []float32)      { activateGradGo(dx, dy, x, kernels.Tanh) }

func activateGo(dst, x []float32, act kernels.Activation) {
	for i, v := range x {
		dst[i] = float32(activation(float64(v), act))
	}
}

func activateGradGo(dx, dy, x []float32, act kernels.Activation) {
	for i, v := range x {
		dx[i] = dy[i] * float32(activationSlope(float64(v), act))
	}
}

// activation is the formula of each activation in float64.
func activation(x float64, act kernels.Activation) float64 {
	switch act {
	case kernels.GELU:
		return x * 0.5 * math.Erfc(-x/math.Sqrt2)
	case kernels.GELUTanh:
		return x * sigmoid(2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))
	case kernels.QuickGELU:
		return x * sigmoid(1.702*x)
	case kernels.SiLU:
		return x * sigmoid(x)
	case kernels.ReLU:
		return max(x, 0)
	case kernels.Tanh:
		return math.Tanh(x)
	}
	return x
}

// activationSlope is the derivative of each activation in float64.
func activationSlope(x float64, act kernels.Activation) float64 {
	switch act {
	case kernels.GELU:
		return 0.5*math.Erfc(-x/math.Sqrt2) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	case kernels.GELUTanh:
		c := 2 * math.Sqrt(2/math.Pi)
		s := sigmoid(c * (x + 0.044715*x*x*x))
		return s + x*s*(1-s)*c*(1+3*0.044715*x*x)
	case kernels.QuickGELU:
		s := sigmoid(1.702 * x)
		return s + 1.702*x*s*(1-s)
	case kernels.SiLU:
		s := sigmoid(x)
		return s + x*s*(1-s)
	case kernels.ReLU:
		if x > 0 {
			return 1
		}
		return 0
	case kernels.Tanh:
		t := math.Tanh(x)
		return 1 - t*t
	}
	return 1
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
