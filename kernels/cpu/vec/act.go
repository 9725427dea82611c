package vec

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
)

// Activate is dst = act(x); dst may be x.
func Activate(dst, x []float32, act kernels.Activation) {
	for i, v := range x {
		dst[i] = float32(activation(float64(v), act))
	}
}

// ActivateGrad is dx = dy·act'(x); dx may be dy or x.
func ActivateGrad(dx, dy, x []float32, act kernels.Activation) {
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
