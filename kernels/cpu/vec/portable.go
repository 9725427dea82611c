package vec

import "math"

// The portable kernels. Sums run in eight lanes, which keeps rounding errors near those of the vector code.

func fillGo(dst []float32, v float32) {
	for i := range dst {
		dst[i] = v
	}
}

func axpyGo(y, x []float32, a float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] += a * x[i]
	}
}

func scaleGo(dst, x []float32, a float32) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] = a * x[i]
	}
}

func mulScaleGo(dst, x, col []float32, a float32) {
	x, col = x[:len(dst)], col[:len(dst)]
	for i := range dst {
		dst[i] = x[i] * a * col[i]
	}
}

func subScaleGo(dst, x, y []float32, a float32) {
	x, y = x[:len(dst)], y[:len(dst)]
	for i := range dst {
		dst[i] = a * (x[i] - y[i])
	}
}

func fold(s *[8]float32) float32 {
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

func sumGo(x []float32) float32 {
	var s [8]float32
	for len(x) >= 8 {
		for l := range s {
			s[l] += x[l]
		}
		x = x[8:]
	}
	for l, v := range x {
		s[l] += v
	}
	return fold(&s)
}

func dotGo(x, y []float32) float32 {
	var s [8]float32
	y = y[:len(x)]
	for len(x) >= 8 {
		for l := range s {
			s[l] += x[l] * y[l]
		}
		x, y = x[8:], y[8:]
	}
	for l := range x {
		s[l] += x[l] * y[l]
	}
	return fold(&s)
}

func sumSquaresGo(x []float32, mean float32) float32 {
	var s [8]float32
	for len(x) >= 8 {
		for l := range s {
			d := x[l] - mean
			s[l] += d * d
		}
		x = x[8:]
	}
	for l, v := range x {
		d := v - mean
		s[l] += d * d
	}
	return fold(&s)
}

func sumSquaredDiffGo(x, y []float32) float32 {
	var s [8]float32
	y = y[:len(x)]
	for i := range x {
		d := x[i] - y[i]
		s[i&7] += d * d
	}
	return fold(&s)
}

func maxGo(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m
}

func maxDiffGo(x, c []float32) float32 {
	m := float32(math.Inf(-1))
	c = c[:len(x)]
	for i, v := range x {
		if v -= c[i]; v > m {
			m = v
		}
	}
	return m
}

func normalizeGo(y, x, gamma, beta []float32, mean, rstd float32) {
	x, gamma, beta = x[:len(y)], gamma[:len(y)], beta[:len(y)]
	for i := range y {
		y[i] = (x[i]-mean)*rstd*gamma[i] + beta[i]
	}
}

func layerNormSumsGo(dy, x, gamma []float32, mean, rstd float32) (g, gx float32) {
	var s, t [8]float32
	x, gamma = x[:len(dy)], gamma[:len(dy)]
	for i := range dy {
		v := dy[i] * gamma[i]
		s[i&7] += v
		t[i&7] += v * ((x[i] - mean) * rstd)
	}
	return fold(&s), fold(&t)
}

func layerNormParamsGo(dgamma, dbeta, dy, x []float32, mean, rstd float32) {
	dbeta, dy, x = dbeta[:len(dgamma)], dy[:len(dgamma)], x[:len(dgamma)]
	for i := range dgamma {
		dgamma[i] += dy[i] * ((x[i] - mean) * rstd)
		dbeta[i] += dy[i]
	}
}

func layerNormGradGo(dx, dy, x, gamma []float32, mean, rstd, a, b float32) {
	dy, x, gamma = dy[:len(dx)], x[:len(dx)], gamma[:len(dx)]
	for i := range dx {
		dx[i] = rstd * (dy[i]*gamma[i] - a - (x[i]-mean)*rstd*b)
	}
}

func layerNormGradAddGo(dx, dy, x, gamma []float32, mean, rstd, a, b float32) {
	dy, x, gamma = dy[:len(dx)], x[:len(dx)], gamma[:len(dx)]
	for i := range dx {
		dx[i] += rstd * (dy[i]*gamma[i] - a - (x[i]-mean)*rstd*b)
	}
}

func expSumGo(dst, x []float32, a, b float32) float32 {
	var s [8]float32
	x = x[:len(dst)]
	for i := range dst {
		v := exp32(x[i]*a + b)
		dst[i] = v
		s[i&7] += v
	}
	return fold(&s)
}

func sumExpGo(x []float32, a, b float32) float32 {
	var s [8]float32
	for i, v := range x {
		s[i&7] += exp32(v*a + b)
	}
	return fold(&s)
}

func sumExpDiffGo(x, c []float32, a, b float32) float32 {
	var s [8]float32
	c = c[:len(x)]
	for i, v := range x {
		s[i&7] += exp32((v-c[i])*a + b)
	}
	return fold(&s)
}

func addExpGo(acc, x []float32, a, b float32) {
	x = x[:len(acc)]
	for i := range acc {
		acc[i] += exp32(x[i]*a + b)
	}
}

func addExpDiffGo(acc, x, c []float32, a, b float32) {
	x, c = x[:len(acc)], c[:len(acc)]
	for i := range acc {
		acc[i] += exp32((x[i]-c[i])*a + b)
	}
}

func expOfGo(dst, x []float32, a, b float32) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] = exp32(x[i]*a + b)
	}
}

func expDiffGo(dst, x, c []float32, a, b float32) {
	x, c = x[:len(dst)], c[:len(dst)]
	for i := range dst {
		dst[i] = exp32((x[i]-c[i])*a + b)
	}
}

func crossGo(acc, t, s []float32, ta, tb, sa, sb, w float32) float32 {
	var d [8]float32
	t, s = t[:len(acc)], s[:len(acc)]
	for i := range acc {
		p := exp32(t[i]*ta + tb)
		acc[i] += w * p
		d[i&7] += p * (s[i]*sa + sb)
	}
	return fold(&d)
}

func crossDiffGo(acc, t, c, s []float32, ta, tb, sa, sb, w float32) float32 {
	var d [8]float32
	t, c, s = t[:len(acc)], c[:len(acc)], s[:len(acc)]
	for i := range acc {
		p := exp32((t[i]-c[i])*ta + tb)
		acc[i] += w * p
		d[i&7] += p * (s[i]*sa + sb)
	}
	return fold(&d)
}

func scoreGradGo(s, dp []float32, a, b, delta float32) {
	dp = dp[:len(s)]
	for i := range s {
		p := exp32(s[i]*a + b)
		s[i] = p
		dp[i] = p * a * (dp[i] - delta)
	}
}

func crossGradGo(ds, s, acc []float32, sa, sb, w float32) {
	s, acc = s[:len(ds)], acc[:len(ds)]
	for i := range ds {
		ds[i] = sa * (w*exp32(s[i]*sa+sb) - acc[i])
	}
}

// exp32 is e^x by range reduction to [-ln2/2, ln2/2] and a polynomial; the assembly does the same. Results below
// the smallest normal number are 0, and above 2^128 infinite.
func exp32(x float32) float32 {
	if x != x {
		return x
	}
	x = min(max(x, expLo), expHi)
	t := x*log2e + magic
	n := t - magic
	x -= n * ln2Hi
	x -= n * ln2Lo
	p := float32(expC6)
	p = p*x + expC5
	p = p*x + expC4
	p = p*x + expC3
	p = p*x + expC2
	p = p*x + 1
	p = p*x + 1
	return p * math.Float32frombits(math.Float32bits(t)<<23)
}

func adamWGo(p, m, v, g []float32, k *Adam) {
	m, v, g = m[:len(p)], v[:len(p)], g[:len(p)]
	for i := range p {
		w := p[i] - k.Decay*p[i]
		gi := g[i] * k.Scale
		mi := k.Beta1*m[i] + k.OneBeta1*gi
		vi := k.Beta2*v[i] + k.OneBeta2*gi*gi
		w -= k.Rate * mi / (float32(math.Sqrt(float64(vi)))*k.RootScale + k.Eps)
		m[i], v[i], p[i] = mi, vi, w
	}
}

func adamWLerpGo(p, m, v, g, ema []float32, k *Adam) {
	adamWGo(p, m, v, g, k)
	lerpGo(ema, p, k.Momentum, k.OneMomentum)
}

func lerpGo(ema, p []float32, a, b float32) {
	p = p[:len(ema)]
	for i := range ema {
		ema[i] = a*ema[i] + b*p[i]
	}
}

func widenGo(dst []float32, src []uint16) {
	src = src[:len(dst)]
	for i, h := range src {
		dst[i] = math.Float32frombits(uint32(h) << 16)
	}
}

func narrowGo(dst []uint16, src []float32) {
	src = src[:len(dst)]
	for i, f := range src {
		u := math.Float32bits(f)
		if u&0x7fffffff > 0x7f800000 {
			dst[i] = uint16(u>>16) | 0x40
			continue
		}
		dst[i] = uint16((u + 0x7fff + (u>>16)&1) >> 16)
	}
}

func rotateGo(a, b, cos, sin []float32, sign float32) {
	b, cos, sin = b[:len(a)], cos[:len(a)], sin[:len(a)]
	for i := range a {
		s := sin[i] * sign
		x, y := a[i], b[i]
		a[i] = x*cos[i] - y*s
		b[i] = y*cos[i] + x*s
	}
}
