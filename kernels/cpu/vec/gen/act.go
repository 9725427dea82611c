package main

import "math"

// The activations, in their own files. Their formulas, with E = e^-x²/2 and Φ the normal distribution function:
//
//	GELU       max(x,0) - |x|·Φ(-|x|),  Φ(-t) = E(t)·R(u)/(t+3),  u = 1 - 6/(t+3)
//	the others from σ(z) = (1 or e)/(1+e), e = exp(-|z|), by the sign of z
//	tanh       (1-e)/(1+e), e = exp(-2|x|), and below 0.625 a polynomial
//
// R is a minimax polynomial of degree 8 for the relative error of Φ(-t) on [0,13] (4e-8), and tanh's, in x², of
// degree 5 (5e-9). Both were fitted in float64 by Lawson's iteration.
var activations = []kernel{
	{
		name: "gelu", doc: "is dst = x·Φ(x); dst may be x", slices: []string{"dst", "x"}, unroll: 2, exp: true, keep: normalConstants,
		body: func(l *loop) {
			l.load("x", l.t(0))
			normal(l)
			l.emit("VMULPS %s, %s, %s", l.t(2), l.t(1), l.t(1)) // |x|·E
			l.zero(l.t(3))
			l.emit("VMAXPS %s, %s, %s", l.t(0), l.t(3), l.t(0))
			l.emit("VFNMADD231PS %s, %s, %s", l.t(4), l.t(1), l.t(0))
			l.store(l.t(0), "dst")
		},
	},
	{
		name: "geluGrad", doc: "is dx = dy·(Φ(x) + x·φ(x)); dx may be dy or x", slices: []string{"dx", "dy", "x"}, unroll: 2, exp: true, keep: normalConstants,
		body: func(l *loop) {
			l.load("x", l.t(0))
			normal(l)
			l.emit("VMULPS %s, %s, %s", l.t(2), l.t(4), l.t(4)) // Φ(-|x|)
			l.emit("VMOVUPS %s, %s", l.c("one"), l.t(3))
			l.emit("VSUBPS %s, %s, %s", l.t(4), l.t(3), l.t(3))
			l.bySign(l.t(0), l.t(4), l.t(3))
			l.emit("VMULPS %s, %s, %s", l.t(2), l.t(1), l.t(1))
			l.copySign(l.t(0), l.t(1), l.t(4))
			l.emit("VFMADD231PS %s, %s, %s", l.c("density"), l.t(1), l.t(3))
			l.load("dy", l.t(0))
			l.emit("VMULPS %s, %s, %s", l.t(3), l.t(0), l.t(0))
			l.store(l.t(0), "dx")
		},
	},
	sigmoidKernel("silu", "is dst = x·σ(x)", func(l *loop) {
		l.clamp(l.t(0), "hundred", l.t(1))
		l.emit("VMOVAPS %s, %s", l.t(1), l.t(2))
	}, "hundred"),
	sigmoidGradKernel("siluGrad", "is dx = dy·(x·σ(x))'", func(l *loop) {
		l.clamp(l.t(0), "hundred", l.t(1))
		l.emit("VMOVAPS %s, %s", l.t(1), l.t(2))
		l.emit("VMOVUPS %s, %s", l.c("one"), l.t(6))
	}, "hundred", "minusHundred"),
	sigmoidKernel("quickGELU", "is dst = x·σ(1.702·x)", func(l *loop) {
		l.clamp(l.t(0), "hundred", l.t(1))
		l.emit("VMULPS %s, %s, %s", l.c("quick"), l.t(1), l.t(2))
	}, "hundred", "quick"),
	sigmoidGradKernel("quickGELUGrad", "is dx = dy·(x·σ(1.702·x))'", func(l *loop) {
		l.clamp(l.t(0), "hundred", l.t(1))
		l.emit("VMULPS %s, %s, %s", l.c("quick"), l.t(1), l.t(2))
		l.emit("VMOVUPS %s, %s", l.c("quick"), l.t(6))
	}, "hundred", "minusHundred", "quick"),
	sigmoidKernel("geluTanh", "is dst = x·σ(2·√(2/π)·(x+0.044715·x³))", func(l *loop) {
		// Beyond 10.06 the sigmoid is 0 or 1 in float32.
		l.clamp(l.t(0), "saturated", l.t(1))
		l.emit("VMULPS %s, %s, %s", l.t(1), l.t(1), l.t(2))
		l.emit("VMOVUPS %s, %s", l.c("tanhLinear"), l.t(3))
		l.emit("VFMADD231PS %s, %s, %s", l.c("tanhCubic"), l.t(2), l.t(3))
		l.emit("VMULPS %s, %s, %s", l.t(3), l.t(1), l.t(2))
	}, "saturated", "minusSaturated", "tanhLinear", "tanhCubic", "tanhCubic3"),
	sigmoidGradKernel("geluTanhGrad", "is dx = dy·(x·σ(2·√(2/π)·(x+0.044715·x³)))'", func(l *loop) {
		l.clamp(l.t(0), "saturated", l.t(1))
		l.emit("VMULPS %s, %s, %s", l.t(1), l.t(1), l.t(2))
		l.emit("VMOVUPS %s, %s", l.c("tanhLinear"), l.t(3))
		l.emit("VMOVAPS %s, %s", l.t(3), l.t(6))
		l.emit("VFMADD231PS %s, %s, %s", l.c("tanhCubic"), l.t(2), l.t(3))
		l.emit("VFMADD231PS %s, %s, %s", l.c("tanhCubic3"), l.t(2), l.t(6))
		l.emit("VMULPS %s, %s, %s", l.t(3), l.t(1), l.t(2))
	}, "saturated", "minusSaturated", "tanhLinear", "tanhCubic", "tanhCubic3"),
	{
		name: "relu", doc: "is dst = max(x, 0); dst may be x", slices: []string{"dst", "x"}, unroll: 4,
		body: func(l *loop) {
			l.load("x", l.t(0))
			l.zero(l.t(1))
			l.emit("VMAXPS %s, %s, %s", l.t(0), l.t(1), l.t(0)) // in this order NaN stays NaN
			l.store(l.t(0), "dst")
		},
	},
	{
		name: "reluGrad", doc: "is dx = dy where x > 0, else 0; dx may be dy or x", slices: []string{"dx", "dy", "x"}, unroll: 4,
		body: func(l *loop) {
			l.load("x", l.t(0))
			l.load("dy", l.t(1))
			l.zero(l.t(2))
			if l.reg == "Z" {
				l.emit("VCMPPS $0x1e, %s, %s, K2", l.t(2), l.t(0))
				l.emit("VMOVAPS.Z %s, K2, %s", l.t(1), l.t(1))
			} else {
				l.emit("VCMPPS $0x1e, %s, %s, %s", l.t(2), l.t(0), l.t(0))
				l.emit("VANDPS %s, %s, %s", l.t(0), l.t(1), l.t(1))
			}
			l.store(l.t(1), "dx")
		},
	},
	{
		name: "tanh", doc: "is dst = tanh(x); dst may be x", slices: []string{"dst", "x"}, unroll: 2, exp: true, keep: []string{"absolute", "minusTwo", "sign", "small", "tanh0", "tanh1", "tanh2", "tanh3", "tanh4", "tanh5"},
		body: func(l *loop) {
			l.load("x", l.t(0))
			l.emit("VANDPS %s, %s, %s", l.c("absolute"), l.t(0), l.t(1))
			l.emit("VMULPS %s, %s, %s", l.c("minusTwo"), l.t(1), l.t(2))
			l.exp(l.t(2), l.t(3), l.t(4), l.t(5))
			l.emit("VMOVUPS %s, %s", l.c("one"), l.t(3))
			l.emit("VSUBPS %s, %s, %s", l.t(2), l.t(3), l.t(4))
			l.emit("VADDPS %s, %s, %s", l.t(2), l.t(3), l.t(3))
			l.emit("VDIVPS %s, %s, %s", l.t(3), l.t(4), l.t(4))
			l.copySign(l.t(0), l.t(4), l.t(3))
			// the polynomial
			l.emit("VMULPS %s, %s, %s", l.t(0), l.t(0), l.t(2))
			l.emit("VMOVUPS %s, %s", l.c("tanh5"), l.t(3))
			for _, c := range []string{"tanh4", "tanh3", "tanh2", "tanh1", "tanh0"} {
				l.emit("VFMADD213PS %s, %s, %s", l.c(c), l.t(2), l.t(3))
			}
			l.emit("VMULPS %s, %s, %s", l.t(0), l.t(2), l.t(2))
			l.emit("VFMADD213PS %s, %s, %s", l.t(0), l.t(2), l.t(3))
			if l.reg == "Z" {
				l.emit("VCMPPS $0x11, %s, %s, K2", l.c("small"), l.t(1))
				l.emit("VMOVAPS %s, K2, %s", l.t(3), l.t(4))
			} else {
				l.emit("VCMPPS $0x11, %s, %s, %s", l.c("small"), l.t(1), l.t(1))
				l.emit("VBLENDVPS %s, %s, %s, %s", l.t(1), l.t(3), l.t(4), l.t(4))
			}
			l.store(l.t(4), "dst")
		},
	},
	{
		name: "tanhGrad", doc: "is dx = dy·4e/(1+e)², e = exp(-2|x|); dx may be dy or x", slices: []string{"dx", "dy", "x"}, unroll: 2, exp: true,
		body: func(l *loop) {
			l.load("x", l.t(0))
			l.emit("VANDPS %s, %s, %s", l.c("absolute"), l.t(0), l.t(1))
			l.emit("VMULPS %s, %s, %s", l.c("minusTwo"), l.t(1), l.t(2))
			l.exp(l.t(2), l.t(3), l.t(4), l.t(5))
			l.emit("VMOVUPS %s, %s", l.c("one"), l.t(3))
			l.emit("VADDPS %s, %s, %s", l.t(2), l.t(3), l.t(3))
			l.emit("VMULPS %s, %s, %s", l.t(3), l.t(3), l.t(3))
			l.emit("VMULPS %s, %s, %s", l.c("four"), l.t(2), l.t(2))
			l.emit("VDIVPS %s, %s, %s", l.t(3), l.t(2), l.t(2))
			l.load("dy", l.t(0))
			l.emit("VMULPS %s, %s, %s", l.t(2), l.t(0), l.t(0))
			l.store(l.t(0), "dx")
		},
	},
}

// normalConstants are what normal uses most of.
var normalConstants = []string{"phi8", "phi7", "phi6", "phi5", "phi4", "phi3", "phi2", "phi1", "phi0", "minusHalf", "three", "minusSix"}

// sigmoidKernel is dst = x·σ(z) for the z that arg makes of x: x in register 0 to clamped x in 1 and z in 2.
func sigmoidKernel(name, doc string, arg func(l *loop), consts ...string) kernel {
	return kernel{
		name: name, doc: doc + "; dst may be x", slices: []string{"dst", "x"}, unroll: 2, exp: true, keep: append([]string{"sign", "minusHundred"}, consts...),
		body: func(l *loop) {
			l.load("x", l.t(0))
			arg(l)
			sigmoid(l)
			// Towards -∞ the product is that of the clamped x, which is 0 as good as.
			l.emit("VMOVUPS %s, %s", l.c("minusHundred"), l.t(1))
			l.emit("VMAXPS %s, %s, %s", l.t(0), l.t(1), l.t(0))
			l.emit("VMULPS %s, %s, %s", l.t(3), l.t(0), l.t(0))
			l.store(l.t(0), "dst")
		},
	}
}

// sigmoidGradKernel is dx = dy·(σ(z) + x·z'·σ(z)·σ(-z)); arg leaves z' in register 6.
func sigmoidGradKernel(name, doc string, arg func(l *loop), consts ...string) kernel {
	return kernel{
		name: name, doc: doc + "; dx may be dy or x", slices: []string{"dx", "dy", "x"}, unroll: 2, exp: true, keep: append([]string{"sign"}, consts...),
		body: func(l *loop) {
			l.load("x", l.t(0))
			arg(l)
			l.emit("VMULPS %s, %s, %s", l.t(6), l.t(1), l.t(1))
			sigmoid(l)
			l.emit("VMULPS %s, %s, %s", l.t(4), l.t(5), l.t(5)) // e/(1+e)
			l.emit("VMULPS %s, %s, %s", l.t(4), l.t(5), l.t(5)) // e/(1+e)²
			l.emit("VFMADD231PS %s, %s, %s", l.t(5), l.t(1), l.t(3))
			l.load("dy", l.t(0))
			l.emit("VMULPS %s, %s, %s", l.t(3), l.t(0), l.t(0))
			l.store(l.t(0), "dx")
		},
	}
}

// sigmoid turns z in register 2 into σ(z) in 3, 1/(1+e) in 4 and e = exp(-|z|) in 5. It leaves 0, 1 and 6 alone.
func sigmoid(l *loop) {
	l.emit("VORPS %s, %s, %s", l.c("sign"), l.t(2), l.t(5))
	l.exp(l.t(5), l.t(3), l.t(4), l.t(7))
	l.emit("VMOVUPS %s, %s", l.c("one"), l.t(3))
	l.emit("VADDPS %s, %s, %s", l.t(5), l.t(3), l.t(4))
	l.emit("VDIVPS %s, %s, %s", l.t(4), l.t(3), l.t(4))
	l.bySign(l.t(2), l.t(5), l.t(3))
	l.emit("VMULPS %s, %s, %s", l.t(4), l.t(3), l.t(3))
}

// normal turns x in register 0 into t = min(|x|, 13) in 1, E(t) in 2 and Φ(-t)/E(t) in 4.
func normal(l *loop) {
	l.emit("VANDPS %s, %s, %s", l.c("absolute"), l.t(0), l.t(1))
	l.emit("VMOVUPS %s, %s", l.c("farOut"), l.t(2))
	l.emit("VMINPS %s, %s, %s", l.t(1), l.t(2), l.t(1)) // in this order NaN stays NaN
	// t² in two parts: the exponential magnifies its rounding by t²/2.
	l.emit("VMULPS %s, %s, %s", l.t(1), l.t(1), l.t(2))
	l.emit("VMOVAPS %s, %s", l.t(1), l.t(6))
	l.emit("VFMSUB213PS %s, %s, %s", l.t(2), l.t(1), l.t(6))
	l.emit("VMULPS %s, %s, %s", l.c("minusHalf"), l.t(2), l.t(2))
	l.emit("VMULPS %s, %s, %s", l.c("minusHalf"), l.t(6), l.t(6))
	l.exp(l.t(2), l.t(3), l.t(4), l.t(5))
	l.emit("VFMADD231PS %s, %s, %s", l.t(6), l.t(2), l.t(2))
	l.emit("VADDPS %s, %s, %s", l.c("three"), l.t(1), l.t(3))
	l.emit("VMOVUPS %s, %s", l.c("one"), l.t(4))
	l.emit("VDIVPS %s, %s, %s", l.t(3), l.t(4), l.t(3))
	l.emit("VMOVUPS %s, %s", l.c("one"), l.t(5))
	l.emit("VFMADD231PS %s, %s, %s", l.c("minusSix"), l.t(3), l.t(5))
	l.emit("VMOVUPS %s, %s", l.c("phi8"), l.t(4))
	for _, c := range []string{"phi7", "phi6", "phi5", "phi4", "phi3", "phi2", "phi1", "phi0"} {
		l.emit("VFMADD213PS %s, %s, %s", l.c(c), l.t(5), l.t(4))
	}
	l.emit("VMULPS %s, %s, %s", l.t(3), l.t(4), l.t(4))
}

func (l *loop) zero(r string) {
	if l.reg == "Z" {
		l.emit("VPXORD %s, %s, %s", r, r, r)
	} else {
		l.emit("VXORPS %s, %s, %s", r, r, r)
	}
}

// clamp is dst = x between minus and plus a constant; NaN stays NaN.
func (l *loop) clamp(x, limit, dst string) {
	l.emit("VMOVUPS %s, %s", l.c(limit), dst)
	l.emit("VMINPS %s, %s, %s", x, dst, dst)
	l.emit("VMOVUPS %s, %s", l.c("minus"+string(limit[0]-32)+limit[1:]), l.t(7))
	l.emit("VMAXPS %s, %s, %s", dst, l.t(7), dst)
}

// bySign replaces dst by other where x is negative.
func (l *loop) bySign(x, other, dst string) {
	if l.reg == "Z" {
		l.emit("VPMOVD2M %s, K2", x)
		l.emit("VMOVAPS %s, K2, %s", other, dst)
	} else {
		l.emit("VBLENDVPS %s, %s, %s, %s", x, other, dst, dst)
	}
}

// copySign gives dst, which is not negative, the sign of x, with scratch register t.
func (l *loop) copySign(x, dst, t string) {
	l.emit("VANDPS %s, %s, %s", l.c("sign"), x, t)
	l.emit("VORPS %s, %s, %s", t, dst, dst)
}

func init() {
	k := math.Sqrt(2 / math.Pi)
	for name, v := range map[string]float64{
		"farOut": 13, "minusHalf": -0.5, "three": 3, "minusSix": -6, "density": 1 / math.Sqrt(2*math.Pi),
		"hundred": 100, "minusHundred": -100, "saturated": 10.06, "minusSaturated": -10.06, "quick": 1.702,
		"tanhLinear": 2 * k, "tanhCubic": 2 * k * 0.044715, "tanhCubic3": 6 * k * 0.044715,
		"minusTwo": -2, "four": 4, "small": 0.625,
		"phi0": 0.7290836572647095, "phi1": -0.5093322396278381, "phi2": 0.2300192266702652, "phi3": -0.04725753515958786,
		"phi4": -0.010479356162250042, "phi5": 0.006931107956916094, "phi6": 0.0010778062278404832,
		"phi7": -0.0009138575405813754, "phi8": -0.0002737881732173264,
		"tanh0": -0.3333333432674408, "tanh1": 0.1333330273628235, "tanh2": -0.05395924299955368,
		"tanh3": 0.021768834441900253, "tanh4": -0.008343741297721863, "tanh5": 0.002292562974616885,
	} {
		constants[name] = math.Float32bits(float32(v))
	}
	constants["absolute"], constants["sign"] = 0x7fffffff, 0x80000000
}
