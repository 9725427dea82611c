package kernels

import "github.com/dino-mx/dmx/tensor"

// Backend performs operations on tensors of one device.
//
// Conventions, for every operation:
//   - Tensors are contiguous and row-major. Matrices are written [rows, cols]; a tensor of higher rank counts
//     as the matrix [product of the leading dimensions, last dimension].
//   - Activations and weights have the backend's working types (f32 or bf16; f64 and f32 in the oracle). Row
//     statistics (mean, lse, norms), losses and optimiser state are f32 (f64 when the operands are f64). Index
//     tables are i32. Accumulation is at least f32.
//   - Where accumulate is set the result is added to what the output holds; otherwise the output is overwritten,
//     whatever it held before.
//   - Outputs do not overlap inputs unless the operation says so.
//   - Results are the same bits for the same inputs, whatever the number of threads.
//   - A shape or type mistake is a bug of the caller and panics with both shapes. A device fault is kept and
//     returned by the next Sync, naming the kernel; operations after a fault do nothing.
type Backend interface {
	// Name says which implementation this is, for example "cpu/avx512" or "cuda/sm_90a".
	Name() string
	// Allocator hands out memory of the backend's device.
	Allocator() tensor.Allocator
	// Sync waits for everything asked so far and returns the first fault since the last Sync.
	Sync() error

	// Upload copies a host tensor to the device, Download the other way; lengths and types are equal.
	// Both wait for the copy.
	Upload(dst, host *tensor.Tensor)
	Download(host, src *tensor.Tensor)

	// Fill sets every element to v.
	Fill(dst *tensor.Tensor, v float64)
	// Copy copies elements; the types may differ among the float types, which rounds to nearest even.
	Copy(dst, src *tensor.Tensor)
	// Axpy is y += a·x. The types may differ.
	Axpy(y *tensor.Tensor, a float64, x *tensor.Tensor)
	// Scale is x *= a.
	Scale(x *tensor.Tensor, a float64)
	// ScaleRowsCols is out[r,c] = x[r,c]·row[r]·col[c]; row or col may be nil and then counts as ones. out may
	// be x. It is the gradient that LayerScale and drop path hand to their branch.
	ScaleRowsCols(out, x, row, col *tensor.Tensor)
	// Dropout is out[i] = x[i]/(1-p) with probability 1-p, else 0. Element i uses word i%4 of
	// tensor.Philox(seed, {i/4 low, i/4 high, offset, 0}); it is kept when word/2^32 >= p. Backward is the same
	// call on the gradient. out may be x.
	Dropout(out, x *tensor.Tensor, p float64, seed uint64, offset uint32)

	// Gemm is the matrix product with its epilogues; see Gemm.
	Gemm(g Gemm)
	// ColSum is out[c] = scale·Σ_r x[r,c]: a bias gradient, or the mean of a batch.
	ColSum(out, x *tensor.Tensor, scale float64, accumulate bool)
	// LayerScaleBackward turns g [N,K] = Σ rows (row scale·dout)ᵀ·x and c [N] = Σ rows (row scale·dout) of the
	// layer out = residual + row scale·gamma·(x·wᵀ + b) into
	// dgamma[n] += Σ_k w[n,k]·g[n,k] + b[n]·c[n], dw[n,k] += gamma[n]·g[n,k], db[n] += gamma[n]·c[n].
	// b, db and dw may be nil. So the branch output itself need not be kept.
	LayerScaleBackward(dw, db, dgamma, g, c, w, b, gamma *tensor.Tensor)

	// ActForward is out = act(x), element by element; out may be x.
	ActForward(out, x *tensor.Tensor, act Activation)
	// ActBackward is dx = dy·act'(x); dx may be dy.
	ActBackward(dx, dy, x *tensor.Tensor, act Activation)
	// SwiGLU is out[r,j] = silu(x[r,j])·x[r,H+j] for x [R,2H], out [R,H].
	SwiGLU(out, x *tensor.Tensor)
	// SwiGLUBackward is the gradient of SwiGLU: dx [R,2H] from dy [R,H] and x.
	SwiGLUBackward(dx, dy, x *tensor.Tensor)

	// LayerNorm is y = (x-mean)·rstd·gamma + beta over the last dimension, rstd = 1/sqrt(var+eps) with the
	// biased variance. mean and rstd [rows] are written for the backward pass.
	LayerNorm(y, mean, rstd, x, gamma, beta *tensor.Tensor, eps float64)
	// LayerNormBackward is the gradient of LayerNorm. dgamma and dbeta are accumulated and may both be nil
	// (frozen); dx is overwritten, or added to when accumulate is set (the residual branch's gradient).
	LayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma *tensor.Tensor, accumulate bool)
	// L2Normalize is y[r] = x[r]/max(‖x[r]‖, eps); norm [rows] receives max(‖x[r]‖, eps).
	L2Normalize(y, norm, x *tensor.Tensor, eps float64)
	// L2NormalizeBackward is dx = (dy - y·(y·dy))/norm, row by row (dx = dy/norm where norm equals eps).
	L2NormalizeBackward(dx, dy, y, norm *tensor.Tensor, eps float64)
	// WeightNorm is w[r] = gain[r]·v[r]/‖v[r]‖; norm [rows] receives ‖v[r]‖. gain may be nil and then is ones.
	WeightNorm(w, norm, v, gain *tensor.Tensor)
	// WeightNormBackward accumulates dv and dgain (nil when frozen) from dw. With u = v/‖v‖:
	// dgain[r] += dw[r]·u[r]; dv[r] += gain[r]/norm[r]·(dw[r] - u[r]·(u[r]·dw[r])).
	WeightNormBackward(dv, dgain, dw, v, gain, norm *tensor.Tensor)

	// Attention is softmax attention over packed sequences; see Attention.
	Attention(a Attention)
	// AttentionBackward writes a.DQKV from a.DOut, recomputing the probabilities from a.LSE.
	AttentionBackward(a AttentionGrad)
	// AttentionRows writes the exact softmax rows of chosen queries, for maps: probs [Q, heads, MaxLen] for the
	// query tokens listed in queries i32 [Q] (row numbers of qkv); columns past a sequence's end are 0.
	AttentionRows(probs, queries *tensor.Tensor, a Attention)
	// RoPE rotates q and k of qkv [T, 3·heads·d] in place. Token t uses row index[t] of cos and sin [R, d/2]
	// (f32), and is left alone when index[t] is -1. Channel pairs are (i, i+d/2):
	// (a,b) -> (a·cos - b·sin, b·cos + a·sin). inverse rotates back, which is the gradient.
	RoPE(qkv, cos, sin, index *tensor.Tensor, heads int, inverse bool)

	// Patchify cuts images [B,C,H,W] (f32) into rows of out [B·(H/p)·(W/p), C·p·p], patches row by row, channel
	// outermost inside a patch. A remainder of H or W below p is dropped.
	Patchify(out, images *tensor.Tensor, p int)
	// GatherRows is out[i] = table[index[i]] (or += with accumulate); a row whose index is -1 is set to 0 (or
	// left alone with accumulate).
	GatherRows(out, table, index *tensor.Tensor, accumulate bool)
	// ScatterRows is the gradient of GatherRows: dtable[r] = Σ_j dout[rows[j]] for j from starts[r] to
	// starts[r+1] (or += with accumulate). starts i32 [R+1] and rows i32 are the inverse of the index, in
	// ascending order, so that the sum has one order.
	ScatterRows(dtable, dout, starts, rows *tensor.Tensor, accumulate bool)

	// RowLogSumExp is lse[r] = log Σ_k exp((x[r,k]-centre[k])·invTemp); centre may be nil.
	RowLogSumExp(lse, x, centre *tensor.Tensor, invTemp float64)
	// ColSumExp is out[k] = Σ_r exp((x[r,k]-centre[k])·invTemp - lse[r]); with the row's own lse it is the sum
	// of the softmax probabilities of a batch, and it is the column step of Sinkhorn-Knopp.
	ColSumExp(out, x, centre, lse *tensor.Tensor, invTemp float64)
	// SoftmaxRows is p[r,k] = exp((x[r,k]-centre[k])·invTemp - lse[r]); p may be x.
	SoftmaxRows(p, x, centre, lse *tensor.Tensor, invTemp float64)
	// SinkhornCentre is centre[k] += log(max(colsum[k], Tiny)·scale)/invTemp: the prototype step of
	// Sinkhorn-Knopp on the column sums of ColSumExp.
	SinkhornCentre(centre, colsum *tensor.Tensor, scale, invTemp float64)
	// CrossEntropy is the student/teacher loss over prototypes; see CrossEntropy.
	CrossEntropy(c CrossEntropy)
	// Entropy is out[0] = -Σ_i q_i·log q_i with q = x/Σx, over all elements of x >= 0.
	Entropy(out, x *tensor.Tensor)

	// NearestRows is index[i] = argmax over j != i of dots[i,j] (the smallest such j), dots [n,n]; -1 for n = 1.
	NearestRows(index, dots *tensor.Tensor)
	// KoLeo is the Kozachenko-Leonenko loss of unit rows x [n,d] with nearest neighbours index [n]:
	// dist_i = ‖x_i - x_index(i) + eps‖ (eps added to every difference), loss[i] = -weight·log(dist_i + eps),
	// and dx [n,d] its full gradient, through both ends of each pair. Rows whose distance is below minDist are
	// duplicates: they add no loss and no gradient, and neither do rows whose index is -1.
	KoLeo(loss, dx, x, index *tensor.Tensor, eps, minDist, weight float64)
	// MSE is loss[0] = weight·Σ(a-b)²/n and da = its gradient by a.
	MSE(loss, da, a, b *tensor.Tensor, weight float64)
	// Sum is out[0] = scale·Σ x (or += with accumulate).
	Sum(out, x *tensor.Tensor, scale float64, accumulate bool)
	// ColMoments writes mean [K] and biased variance [K] over the rows of x [R,K].
	ColMoments(mean, variance, x *tensor.Tensor)

	// GradSquares is out[g] = Σ of squares of the gradients of clip group g; out f32 [groups].
	GradSquares(out *tensor.Tensor, p *ParamTable)
	// Guard decides whether a step is carried out, and by how much its gradients are clipped; see Guard.
	Guard(g Guard)
	// AdamW is the fused optimiser and teacher update; see AdamWStep. The gradient of entry e is multiplied by
	// scale[e.Group] first. It does nothing at all when a scale is NaN.
	AdamW(p *ParamTable, scale *tensor.Tensor, s AdamWStep)
	// EMA is dst = momentum·dst + (1-momentum)·src, element by element. It does nothing at all when a scale is NaN.
	EMA(dst, src, scale *tensor.Tensor, momentum float64)
}

// Activation is an element-wise non-linearity.
type Activation uint8

// The activations that published vision transformers use. GELU is the exact erf form.
const (
	NoActivation Activation = iota
	GELU                    // x·½·(1+erf(x/√2))
	GELUTanh                // x·½·(1+tanh(√(2/π)·(x+0.044715·x³)))
	QuickGELU               // x·σ(1.702·x)
	SiLU                    // x·σ(x)
	ReLU                    // max(x, 0)
	Tanh                    // tanh(x)
)

// Gemm describes out = epilogue(op(A)·op(B)).
//
// op(A) is [M,K] and op(B) is [K,N]. A tensor is read as a matrix [rows, last dimension]; with TransA the
// memory holds [K,M], with TransB it holds [N,K] (a weight stored [out, in] is used with TransB). The column
// offsets select a stretch of columns of a wider matrix, such as the values of a packed qkv: columns
// ACol…ACol+K (or +M with TransA), BCol…, OutCol…OutCol+N. Rows always start at the tensor's first row.
//
// The epilogue, in this order, with acc the sum of products:
//
//	z    = acc + Bias[n]
//	Pre  = z                                    (if Pre is set; same layout as Out)
//	y    = Act(z)
//	y    = y · ActGrad'(GradOf[m,n])             (if GradOf is set: backward through an activation)
//	out  = Residual[m,n] + RowScale[m]·Gamma[n]·y  (those of the three that are set)
//	Out  = out, or Out += out with Accumulate
//
// Residual may be Out. Pre, GradOf and Residual are as wide as Out and are used at the same columns. Bias, Gamma
// and RowScale may be f32 while the matrices are bf16, and so may Out.
type Gemm struct {
	M, N, K            int
	Out, A, B          *tensor.Tensor
	TransA, TransB     bool
	ACol, BCol, OutCol int
	Alpha              float64 // scales acc; 0 means 1
	Accumulate         bool

	Bias     *tensor.Tensor // [N]
	Pre      *tensor.Tensor // [M,N]
	Act      Activation
	ActGrad  Activation
	GradOf   *tensor.Tensor // [M,N]
	Residual *tensor.Tensor // [M,N]
	Gamma    *tensor.Tensor // [N]
	RowScale *tensor.Tensor // [M]
}

// Sequences says where each sequence of a packed token matrix [T, dim] begins.
type Sequences struct {
	Starts *tensor.Tensor // i32 [S+1] on the device, ascending, Starts[S] = T
	Host   []int32        // the same on the host
	MaxLen int            // longest sequence
}

// Attention describes out = softmax(scale·q·kᵀ)·v per sequence and head.
type Attention struct {
	Out   *tensor.Tensor // [T, Heads·d]
	LSE   *tensor.Tensor // [Heads, T]: log Σ exp of the scaled scores of each row; nil when not needed
	QKV   *tensor.Tensor // [T, 3·Heads·d]: q, k, v; heads are contiguous stretches of d channels
	Seqs  Sequences
	Heads int
	Scale float64
}

// AttentionGrad adds what the backward pass needs. Out and LSE hold the forward results.
type AttentionGrad struct {
	Attention
	DOut  *tensor.Tensor // [T, Heads·d]
	DQKV  *tensor.Tensor // [T, 3·Heads·d], overwritten
	Delta *tensor.Tensor // [Heads, T] scratch: Σ_j dout·out of each row
}

// CrossEntropy describes the loss between student rows and teacher rows over K prototypes.
//
// With ps[r,k] = exp(S[r,k]·SInvTemp - SLSE[r]) and
// pt[q,k] = exp((T[q,k]-Centre[k])·TInvTemp - TLSE[q]) (Centre may be nil), and the pairs j from Starts[r] to
// Starts[r+1] of student row r meeting teacher row Rows[j] with weight Weights[j]:
//
//	Loss[j] = Weights[j] · Σ_k -pt[Rows[j],k] · log ps[r,k]
//	DS[r,k] = Σ_j Weights[j] · (ps[r,k]·Σ_k pt - pt[Rows[j],k]) · SInvTemp
//
// where Σ_k pt is taken as 1 (the rows are normalised). Softmax-centring and Sinkhorn-Knopp both have this
// form: they differ in Centre and TLSE only.
type CrossEntropy struct {
	Loss     *tensor.Tensor // f32 [pairs]
	DS       *tensor.Tensor // [R,K]; may be S; nil when no gradient is wanted
	S, SLSE  *tensor.Tensor // [R,K], [R]
	T, TLSE  *tensor.Tensor // [Q,K], [Q]
	Centre   *tensor.Tensor // [K] or nil
	SInvTemp float64
	TInvTemp float64
	Starts   *tensor.Tensor // i32 [R+1]
	Rows     *tensor.Tensor // i32 [pairs]
	Weights  *tensor.Tensor // f32 [pairs]
}

// ParamEntry is one trainable tensor with its optimiser state: a row of the chunk table.
type ParamEntry struct {
	Param  *tensor.Tensor // f32 master weights
	Grad   *tensor.Tensor // f32 or bf16
	M, V   *tensor.Tensor // f32 moments
	EMA    *tensor.Tensor // f32 teacher weights, nil if there is no teacher
	Half   *tensor.Tensor // bf16 copy of Param for compute, or nil
	EMA16  *tensor.Tensor // bf16 copy of EMA, or nil
	LRMul  float64        // multiplies the learning rate (layer decay, patch embedding, frozen last layer)
	WDMul  float64        // multiplies the weight decay (0 for biases and norms)
	Group  int            // clip group
	Frozen bool           // no gradient and no update this step: only the teacher follows
	Skip   bool           // the same where there is a gradient: it is ignored, as by DINO v1 for its last layer
}

// ParamTable lists what one optimiser step updates. A backend may keep a device form of it in Device; the
// owner sets Device to nil after changing an entry.
type ParamTable struct {
	Entries []ParamEntry
	Groups  int
	Device  any
}

// Guard describes the decision whether a step is carried out.
//
//	Scale[g] = min(1, MaxNorm/(sqrt(Squares[g])+1e-6)), all ones for MaxNorm 0
//	Missed   = 0
//
// where every entry of Squares and Losses is finite. Otherwise every Scale is NaN, which makes AdamW and EMA leave
// everything alone, and Missed is 1.
type Guard struct {
	Scale   *tensor.Tensor // f32 [groups], written
	Missed  *tensor.Tensor // f32 [1], written
	Squares *tensor.Tensor // f32 [groups]: Σ of squares of the gradients of each clip group
	Losses  *tensor.Tensor // f32, or nil
	MaxNorm float64
}

// AdamWStep is the arithmetic of one update. With t = Step - Missed counted from 1, g the scaled gradient,
// lr = LR·LRMul and wd = WD·WDMul:
//
//	p -= lr·wd·p
//	m  = β1·m + (1-β1)·g;  v = β2·v + (1-β2)·g²
//	p -= lr · (m/(1-β1^t)) / (sqrt(v/(1-β2^t)) + Eps)
//	ema = Momentum·ema + (1-Momentum)·p
//
// in this order; the decoupled weight decay of Loshchilov and Hutter, and the teacher of DINO in one pass.
type AdamWStep struct {
	Step int
	// Missed is how many of the Step-1 updates before were not carried out, f32 [1] on the device; nil for none. It is
	// whole and below Step. A device works 1-β^t out by itself then, to a few units in the last place.
	Missed       *tensor.Tensor
	LR, WD       float64
	Beta1, Beta2 float64
	Eps          float64
	Momentum     float64 // teacher EMA; ignored where EMA is nil
}
