package main

var kernels = []kernel{
	{
		name: "Fill", doc: "sets every element to v", slices: []string{"dst"}, scalars: []string{"v"}, unroll: 4,
		body: func(l *loop) { l.store(l.scalar("v"), "dst") },
	},
	{
		name: "Axpy", doc: "is y += a·x", slices: []string{"y", "x"}, scalars: []string{"a"}, unroll: 4,
		body: func(l *loop) {
			l.load("y", l.t(0))
			l.load("x", l.t(1))
			l.emit("VFMADD231PS %s, %s, %s", l.t(1), l.scalar("a"), l.t(0))
			l.store(l.t(0), "y")
		},
	},
	{
		name: "Scale", doc: "is dst = a·x; dst may be x", slices: []string{"dst", "x"}, scalars: []string{"a"}, unroll: 4,
		body: func(l *loop) {
			l.load("x", l.t(0))
			l.emit("VMULPS %s, %s, %s", l.scalar("a"), l.t(0), l.t(0))
			l.store(l.t(0), "dst")
		},
	},
	{
		name: "MulScale", doc: "is dst = x·a·col; dst may be x", slices: []string{"dst", "x", "col"}, scalars: []string{"a"}, unroll: 4,
		body: func(l *loop) {
			l.load("x", l.t(0))
			l.load("col", l.t(1))
			l.emit("VMULPS %s, %s, %s", l.scalar("a"), l.t(0), l.t(0))
			l.emit("VMULPS %s, %s, %s", l.t(1), l.t(0), l.t(0))
			l.store(l.t(0), "dst")
		},
	},
	{
		name: "SubScale", doc: "is dst = a·(x-y); dst may be x or y", slices: []string{"dst", "x", "y"}, scalars: []string{"a"}, unroll: 4,
		body: func(l *loop) {
			l.load("x", l.t(0))
			l.load("y", l.t(1))
			l.emit("VSUBPS %s, %s, %s", l.t(1), l.t(0), l.t(0))
			l.emit("VMULPS %s, %s, %s", l.scalar("a"), l.t(0), l.t(0))
			l.store(l.t(0), "dst")
		},
	},
	{
		name: "Sum", doc: "is Σ x", slices: []string{"x"}, results: []string{"sum"}, unroll: 4,
		body: func(l *loop) {
			l.load("x", l.t(0))
			l.emit("VADDPS %s, %s, %s", l.t(0), l.acc("sum"), l.acc("sum")) // lanes past the end are 0
		},
	},
	{
		name: "Dot", doc: "is Σ x·y", slices: []string{"x", "y"}, results: []string{"sum"}, unroll: 4,
		body: func(l *loop) {
			l.load("x", l.t(0))
			l.load("y", l.t(1))
			l.reduceProduct("sum", l.t(0), l.t(1))
		},
	},
	{
		name: "SumSquares", doc: "is Σ (x-mean)²", slices: []string{"x"}, scalars: []string{"mean"}, results: []string{"sum"}, unroll: 4,
		body: func(l *loop) {
			l.load("x", l.t(0))
			l.emit("VSUBPS %s, %s, %s", l.scalar("mean"), l.t(0), l.t(0))
			if l.masked {
				l.emit("VMULPS %s, %s, %s", l.t(0), l.t(0), l.t(0))
				l.reduce("sum", l.t(0))
				return
			}
			l.reduceProduct("sum", l.t(0), l.t(0))
		},
	},
	{
		name: "SumSquaredDiff", doc: "is Σ (x-y)²", slices: []string{"x", "y"}, results: []string{"sum"}, unroll: 4,
		body: func(l *loop) {
			l.load("x", l.t(0))
			l.load("y", l.t(1))
			l.emit("VSUBPS %s, %s, %s", l.t(1), l.t(0), l.t(0))
			l.reduceProduct("sum", l.t(0), l.t(0))
		},
	},
	{
		name: "Max", doc: "is the largest element, -Inf of none", slices: []string{"x"}, results: []string{"top"}, max: true, unroll: 4,
		body: func(l *loop) {
			l.load("x", l.t(0))
			l.reduce("top", l.t(0))
		},
	},
	{
		name: "MaxDiff", doc: "is the largest x-c", slices: []string{"x", "c"}, results: []string{"top"}, max: true, unroll: 4,
		body: func(l *loop) {
			l.load("x", l.t(0))
			l.load("c", l.t(1))
			l.emit("VSUBPS %s, %s, %s", l.t(1), l.t(0), l.t(0))
			l.reduce("top", l.t(0))
		},
	},
	{
		name: "Normalize", doc: "is y = (x-mean)·rstd·gamma + beta; y may be x", slices: []string{"y", "x", "gamma", "beta"},
		scalars: []string{"mean", "rstd"}, unroll: 2,
		body: func(l *loop) {
			l.load("x", l.t(0))
			l.load("gamma", l.t(1))
			l.load("beta", l.t(2))
			l.emit("VSUBPS %s, %s, %s", l.scalar("mean"), l.t(0), l.t(0))
			l.emit("VMULPS %s, %s, %s", l.scalar("rstd"), l.t(0), l.t(0))
			l.emit("VFMADD213PS %s, %s, %s", l.t(2), l.t(1), l.t(0))
			l.store(l.t(0), "y")
		},
	},
	{
		name: "LayerNormSums", doc: "returns Σ dy·gamma and Σ dy·gamma·(x-mean)·rstd", slices: []string{"dy", "x", "gamma"},
		scalars: []string{"mean", "rstd"}, results: []string{"sum", "sumX"}, unroll: 2,
		body: func(l *loop) {
			l.load("dy", l.t(0))
			l.load("gamma", l.t(1))
			l.load("x", l.t(2))
			l.emit("VMULPS %s, %s, %s", l.t(1), l.t(0), l.t(0)) // 0 past the end
			l.emit("VSUBPS %s, %s, %s", l.scalar("mean"), l.t(2), l.t(2))
			l.emit("VMULPS %s, %s, %s", l.scalar("rstd"), l.t(2), l.t(2))
			l.emit("VADDPS %s, %s, %s", l.t(0), l.acc("sum"), l.acc("sum"))
			l.reduceProduct("sumX", l.t(0), l.t(2))
		},
	},
	{
		name: "LayerNormParams", doc: "is dgamma += dy·(x-mean)·rstd, dbeta += dy", slices: []string{"dgamma", "dbeta", "dy", "x"},
		scalars: []string{"mean", "rstd"}, unroll: 2,
		body: func(l *loop) {
			l.load("dy", l.t(0))
			l.load("x", l.t(1))
			l.load("dgamma", l.t(2))
			l.load("dbeta", l.t(3))
			l.emit("VSUBPS %s, %s, %s", l.scalar("mean"), l.t(1), l.t(1))
			l.emit("VMULPS %s, %s, %s", l.scalar("rstd"), l.t(1), l.t(1))
			l.emit("VFMADD231PS %s, %s, %s", l.t(1), l.t(0), l.t(2))
			l.emit("VADDPS %s, %s, %s", l.t(0), l.t(3), l.t(3))
			l.store(l.t(2), "dgamma")
			l.store(l.t(3), "dbeta")
		},
	},
	{
		name: "LayerNormGrad", doc: "is dx = rstd·(dy·gamma - a - (x-mean)·rstd·b)", slices: []string{"dx", "dy", "x", "gamma"},
		scalars: []string{"mean", "rstd", "a", "b"}, unroll: 2,
		body: func(l *loop) {
			layerNormGrad(l)
			l.emit("VMULPS %s, %s, %s", l.scalar("rstd"), l.t(0), l.t(0))
			l.store(l.t(0), "dx")
		},
	},
	{
		name: "LayerNormGradAdd", doc: "is dx += rstd·(dy·gamma - a - (x-mean)·rstd·b)", slices: []string{"dx", "dy", "x", "gamma"},
		scalars: []string{"mean", "rstd", "a", "b"}, unroll: 2,
		body: func(l *loop) {
			layerNormGrad(l)
			l.load("dx", l.t(1))
			l.emit("VFMADD231PS %s, %s, %s", l.scalar("rstd"), l.t(0), l.t(1))
			l.store(l.t(1), "dx")
		},
	},
	{
		name: "ExpSum", doc: "is dst = exp(x·a + b) and returns its sum; dst may be x", slices: []string{"dst", "x"},
		scalars: []string{"a", "b"}, results: []string{"sum"}, unroll: 2, exp: true,
		body: func(l *loop) {
			expOf(l, "x", "", "a", "b")
			l.store(l.t(0), "dst")
			l.reduce("sum", l.t(0))
		},
	},
	{
		name: "sumExp", doc: "is Σ exp(x·a + b)", slices: []string{"x"},
		scalars: []string{"a", "b"}, results: []string{"sum"}, unroll: 2, exp: true,
		body: func(l *loop) {
			expOf(l, "x", "", "a", "b")
			l.reduce("sum", l.t(0))
		},
	},
	{
		name: "sumExpDiff", doc: "is Σ exp((x-c)·a + b)", slices: []string{"x", "c"},
		scalars: []string{"a", "b"}, results: []string{"sum"}, unroll: 2, exp: true,
		body: func(l *loop) {
			expOf(l, "x", "c", "a", "b")
			l.reduce("sum", l.t(0))
		},
	},
	{
		name: "addExp", doc: "is acc += exp(x·a + b)", slices: []string{"acc", "x"},
		scalars: []string{"a", "b"}, unroll: 2, exp: true,
		body: func(l *loop) {
			expOf(l, "x", "", "a", "b")
			l.load("acc", l.t(1))
			l.emit("VADDPS %s, %s, %s", l.t(0), l.t(1), l.t(1))
			l.store(l.t(1), "acc")
		},
	},
	{
		name: "addExpDiff", doc: "is acc += exp((x-c)·a + b)", slices: []string{"acc", "x", "c"},
		scalars: []string{"a", "b"}, unroll: 2, exp: true,
		body: func(l *loop) {
			expOf(l, "x", "c", "a", "b")
			l.load("acc", l.t(1))
			l.emit("VADDPS %s, %s, %s", l.t(0), l.t(1), l.t(1))
			l.store(l.t(1), "acc")
		},
	},
	{
		name: "expOf", doc: "is dst = exp(x·a + b); dst may be x", slices: []string{"dst", "x"},
		scalars: []string{"a", "b"}, unroll: 2, exp: true,
		body: func(l *loop) {
			expOf(l, "x", "", "a", "b")
			l.store(l.t(0), "dst")
		},
	},
	{
		name: "expDiff", doc: "is dst = exp((x-c)·a + b); dst may be x", slices: []string{"dst", "x", "c"},
		scalars: []string{"a", "b"}, unroll: 2, exp: true,
		body: func(l *loop) {
			expOf(l, "x", "c", "a", "b")
			l.store(l.t(0), "dst")
		},
	},
	{
		name: "cross", doc: "adds w·p to acc for p = exp(t·ta + tb) and returns Σ p·(s·sa + sb)", slices: []string{"acc", "t", "s"},
		scalars: []string{"ta", "tb", "sa", "sb", "w"}, results: []string{"sum"}, unroll: 2, exp: true,
		body: func(l *loop) { cross(l, "") },
	},
	{
		name: "crossDiff", doc: "adds w·p to acc for p = exp((t-c)·ta + tb) and returns Σ p·(s·sa + sb)", slices: []string{"acc", "t", "c", "s"},
		scalars: []string{"ta", "tb", "sa", "sb", "w"}, results: []string{"sum"}, unroll: 2, exp: true,
		body: func(l *loop) { cross(l, "c") },
	},
	{
		name: "CrossGrad", doc: "is ds = sa·(w·exp(s·sa + sb) - acc); ds may be s", slices: []string{"ds", "s", "acc"},
		scalars: []string{"sa", "sb", "w"}, unroll: 2, exp: true,
		body: func(l *loop) {
			expOf(l, "s", "", "sa", "sb")
			l.load("acc", l.t(1))
			l.emit("VFMSUB213PS %s, %s, %s", l.t(1), l.scalar("w"), l.t(0))
			l.emit("VMULPS %s, %s, %s", l.scalar("sa"), l.t(0), l.t(0))
			l.store(l.t(0), "ds")
		},
	},
	{
		name: "ScoreGrad", doc: "turns the scores s and the products dp of a row of attention into the probabilities\n// p = exp(s·a + b), in s, and the gradient of the unscaled scores p·(dp-delta)·a, in dp", slices: []string{"s", "dp"},
		scalars: []string{"a", "b", "delta"}, unroll: 2, exp: true,
		body: func(l *loop) {
			expOf(l, "s", "", "a", "b")
			l.store(l.t(0), "s")
			l.load("dp", l.t(1))
			l.emit("VSUBPS %s, %s, %s", l.scalar("delta"), l.t(1), l.t(1))
			l.emit("VMULPS %s, %s, %s", l.scalar("a"), l.t(0), l.t(0))
			l.emit("VMULPS %s, %s, %s", l.t(1), l.t(0), l.t(0))
			l.store(l.t(0), "dp")
		},
	},
	{
		name: "adamW", doc: "updates p, m and v from the gradient grad", slices: []string{"p", "m", "v", "grad"}, factors: adamFactors[:9], unroll: 2, whole: true,
		body: adamW,
	},
	{
		name: "adamWLerp", doc: "updates p, m and v from the gradient grad, and the teacher ema from the new p", slices: []string{"p", "m", "v", "grad", "ema"}, factors: adamFactors, unroll: 2, whole: true,
		body: func(l *loop) {
			adamW(l)
			l.load("ema", l.t(1))
			l.emit("VMULPS %s, %s, %s", l.scalar("Momentum"), l.t(1), l.t(1))
			l.emit("VFMADD231PS %s, %s, %s", l.t(0), l.scalar("OneMomentum"), l.t(1))
			l.store(l.t(1), "ema")
		},
	},
	{
		name: "Lerp", doc: "is ema = a·ema + b·p", slices: []string{"ema", "p"}, scalars: []string{"a", "b"}, unroll: 4,
		body: func(l *loop) {
			l.load("ema", l.t(0))
			l.load("p", l.t(1))
			l.emit("VMULPS %s, %s, %s", l.scalar("a"), l.t(0), l.t(0))
			l.emit("VFMADD231PS %s, %s, %s", l.t(1), l.scalar("b"), l.t(0))
			l.store(l.t(0), "ema")
		},
	},
	{
		name: "Widen", doc: "turns bf16 bit patterns into float32", slices: []string{"dst", "src"}, halves: []string{"src"}, unroll: 4, whole: true,
		body: func(l *loop) {
			l.emit("VPMOVZXWD %s, %s", l.mem("src"), l.t(0))
			l.emit("VPSLLD $16, %s, %s", l.t(0), l.t(0))
			l.store(l.t(0), "dst")
		},
	},
	{
		name: "Narrow", doc: "rounds to bf16, to nearest even; NaN stays NaN", slices: []string{"dst", "src"}, halves: []string{"dst"}, unroll: 2, whole: true,
		body: narrow,
	},
	{
		name: "Rotate", doc: "turns the pairs (a,b): a' = a·cos - b·sin·sign, b' = b·cos + a·sin·sign", slices: []string{"a", "b", "cos", "sin"},
		scalars: []string{"sign"}, unroll: 1,
		body: func(l *loop) {
			l.load("a", l.t(0))
			l.load("b", l.t(1))
			l.load("cos", l.t(2))
			l.load("sin", l.t(3))
			l.emit("VMULPS %s, %s, %s", l.scalar("sign"), l.t(3), l.t(3))
			l.emit("VMULPS %s, %s, %s", l.t(2), l.t(0), l.t(4))
			l.emit("VFNMADD231PS %s, %s, %s", l.t(3), l.t(1), l.t(4))
			l.emit("VMULPS %s, %s, %s", l.t(2), l.t(1), l.t(5))
			l.emit("VFMADD231PS %s, %s, %s", l.t(3), l.t(0), l.t(5))
			l.store(l.t(4), "a")
			l.store(l.t(5), "b")
		},
	},
}

// adamFactors are the fields of vec.Adam.
var adamFactors = []string{"Scale", "Decay", "Beta1", "OneBeta1", "Beta2", "OneBeta2", "Rate", "RootScale", "Eps", "Momentum", "OneMomentum"}

// expOf leaves exp((x-c)·a + b) in register 0; c may be "". It uses registers 1 to 3.
func expOf(l *loop, x, c, a, b string) {
	l.load(x, l.t(0))
	if c != "" {
		l.load(c, l.t(1))
		l.emit("VSUBPS %s, %s, %s", l.t(1), l.t(0), l.t(0))
	}
	l.emit("VFMADD213PS %s, %s, %s", l.scalar(b), l.scalar(a), l.t(0))
	l.exp(l.t(0), l.t(1), l.t(2), l.t(3))
}

func cross(l *loop, c string) {
	expOf(l, "t", c, "ta", "tb")
	l.load("s", l.t(1))
	l.load("acc", l.t(2))
	l.emit("VFMADD213PS %s, %s, %s", l.scalar("sb"), l.scalar("sa"), l.t(1))
	l.emit("VFMADD231PS %s, %s, %s", l.t(0), l.scalar("w"), l.t(2))
	l.store(l.t(2), "acc")
	if l.masked {
		l.emit("VMULPS %s, %s, %s", l.t(1), l.t(0), l.t(0))
		l.reduce("sum", l.t(0))
		return
	}
	l.reduceProduct("sum", l.t(0), l.t(1))
}

// layerNormGrad leaves dy·gamma - a - (x-mean)·rstd·b in register 0.
func layerNormGrad(l *loop) {
	l.load("dy", l.t(0))
	l.load("gamma", l.t(1))
	l.load("x", l.t(2))
	l.emit("VFMSUB213PS %s, %s, %s", l.scalar("a"), l.t(1), l.t(0))
	l.emit("VSUBPS %s, %s, %s", l.scalar("mean"), l.t(2), l.t(2))
	l.emit("VMULPS %s, %s, %s", l.scalar("rstd"), l.t(2), l.t(2))
	l.emit("VFNMADD231PS %s, %s, %s", l.scalar("b"), l.t(2), l.t(0))
}

// adamW leaves the new weights in register 0.
func adamW(l *loop) {
	p, m, v, g, t := l.t(0), l.t(1), l.t(2), l.t(3), l.t(4)
	l.load("p", p)
	l.load("m", m)
	l.load("v", v)
	l.load("grad", g)
	l.emit("VFNMADD231PS %s, %s, %s", l.scalar("Decay"), p, p)
	l.emit("VMULPS %s, %s, %s", l.scalar("Scale"), g, g)
	l.emit("VMULPS %s, %s, %s", l.scalar("Beta1"), m, m)
	l.emit("VFMADD231PS %s, %s, %s", l.scalar("OneBeta1"), g, m)
	l.store(m, "m")
	l.emit("VMULPS %s, %s, %s", l.scalar("Beta2"), v, v)
	l.emit("VMULPS %s, %s, %s", l.scalar("OneBeta2"), g, t)
	l.emit("VFMADD231PS %s, %s, %s", t, g, v)
	l.store(v, "v")
	l.emit("VSQRTPS %s, %s", v, t)
	l.emit("VFMADD213PS %s, %s, %s", l.scalar("Eps"), l.scalar("RootScale"), t)
	l.emit("VMULPS %s, %s, %s", l.scalar("Rate"), m, m)
	l.emit("VDIVPS %s, %s, %s", t, m, m)
	l.emit("VSUBPS %s, %s, %s", m, p, p)
	l.store(p, "p")
}

func narrow(l *loop) {
	x, t, q := l.t(0), l.t(1), l.t(2)
	l.load("src", x)
	l.emit("VPSRLD $16, %s, %s", x, t)
	if l.reg == "Z" {
		l.emit("VPANDD %s, %s, %s", l.c("bit0"), t, q)
		l.emit("VPADDD %s, %s, %s", l.c("round"), q, q)
		l.emit("VPADDD %s, %s, %s", x, q, q)
		l.emit("VPSRLD $16, %s, %s", q, q)
		l.emit("VCMPPS $3, %s, %s, K2", x, x)
		l.emit("VPORD %s, %s, K2, %s", l.c("quiet"), t, q)
		l.emit("VPMOVDW %s, %s", q, l.mem("dst"))
		return
	}
	l.emit("VPAND %s, %s, %s", l.c("bit0"), t, q)
	l.emit("VPADDD %s, %s, %s", l.c("round"), q, q)
	l.emit("VPADDD %s, %s, %s", x, q, q)
	l.emit("VPSRLD $16, %s, %s", q, q)
	l.emit("VPOR %s, %s, %s", l.c("quiet"), t, t)
	l.emit("VCMPPS $3, %s, %s, %s", x, x, x)
	l.emit("VBLENDVPS %s, %s, %s, %s", x, t, q, q)
	l.emit("VEXTRACTI128 $1, %s, X1", q)
	l.emit("VPACKUSDW X1, X2, X2")
	l.emit("VMOVDQU X2, %s", l.mem("dst"))
}
