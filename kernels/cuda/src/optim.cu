// The optimiser over a chunk table: every tensor of the model is cut into chunks of 16,384 elements and one
// launch covers them all. A step is one pass: clip, AdamW, teacher, bf16 copies.
#include "prelude.h"

struct Entry { // mirrored by optim.go
  float *param, *m, *v, *ema;
  Any grad;
  bf16 *half, *ema16;
  float lr_mul, wd_mul;
  int group, flags; // 1: frozen or skipped (only the teacher follows)
  int n, pad;
};
struct Chunk {
  int entry, lo;
};
#define CHUNK 16384

// partial[chunk] = Σ grad²; a chunk of an entry that takes no part gives 0.
KERNEL THREADS(256) void grad_squares(float *partial, const Entry *entries, const Chunk *chunks) {
  SHARED static float scratch[33];
  Chunk ch = chunks[block_x];
  const Entry *e = entries + ch.entry;
  float s = 0;
  if (!(e->flags & 1)) {
    int hi = min_(e->n, ch.lo + CHUNK);
    Any grad = e->grad;
    for (int i = ch.lo + tid_x; i < hi; i += dim_x) {
      float g = at(grad, i);
      s = fma_(g, g, s);
    }
  }
  s = group_sum(s, scratch);
  if (tid_x == 0) partial[block_x] = s;
}

// grad_squares with accesses of 16 bytes, four in flight, where the gradient lies on 16 bytes.
template <class T> DEVICE float squares(const T *grad, int lo, int hi) {
  constexpr int W = 16 / sizeof(T), apart = 256 * W;
  float s = 0;
  int i = lo + tid_x * W, whole = lo + (hi - lo) / W * W;
  for (; i + 3 * apart < whole; i += 4 * apart) {
    uint4v q[4];
#pragma unroll
    for (int u = 0; u < 4; u++) q[u] = *(const uint4v *)(grad + i + u * apart);
#pragma unroll
    for (int u = 0; u < 4; u++) {
      Vec<W> g = unpack<T>(q[u]);
      for (int j = 0; j < W; j++) s = fma_(g.v[j], g.v[j], s);
    }
  }
  for (; i < whole; i += apart) {
    Vec<W> g = unpack<T>(*(const uint4v *)(grad + i));
    for (int j = 0; j < W; j++) s = fma_(g.v[j], g.v[j], s);
  }
  if (whole + tid_x < hi) {
    float g = load(grad + whole + tid_x);
    s = fma_(g, g, s);
  }
  return s;
}
KERNEL THREADS(256) void grad_squares_w(float *partial, const Entry *entries, const Chunk *chunks) {
  SHARED static float scratch[33];
  Chunk ch = chunks[block_x];
  const Entry *e = entries + ch.entry;
  float s = 0;
  if (!(e->flags & 1)) {
    int lo = ch.lo, hi = min_(e->n, ch.lo + CHUNK);
    Any grad = e->grad;
    if (grad & 14) {
      for (int i = lo + tid_x; i < hi; i += 256) {
        float g = at(grad, i);
        s = fma_(g, g, s);
      }
    } else if (grad & 1) {
      s = squares((const bf16 *)(grad - 1), lo, hi);
    } else {
      s = squares((const float *)grad, lo, hi);
    }
  }
  s = group_sum(s, scratch);
  if (tid_x == 0) partial[block_x] = s;
}

// out[g] = Σ of the partial sums of the chunks of group g, in chunk order: one block per group.
KERNEL THREADS(256) void group_squares(float *out, const float *partial, const Entry *entries, const Chunk *chunks, int n) {
  SHARED static float scratch[33];
  float s = 0;
  for (int i = tid_x; i < n; i += dim_x)
    if (entries[chunks[i].entry].group == block_x) s += partial[i];
  s = group_sum(s, scratch);
  if (tid_x == 0) out[block_x] = s;
}

// scale[g] = min(1, max_norm/(sqrt(squares[g])+1e-6)) and missed = 0 where all squares and losses are finite; otherwise NaN
// everywhere and missed = 1.
KERNEL THREADS(256) void guard(float *scale, float *missed, const float *squares, const float *losses, float max_norm, int groups, int parts) {
  SHARED static float scratch[33];
  float bad = 0;
  for (int i = tid_x; i < groups; i += dim_x)
    if (!is_finite(squares[i])) bad = 1;
  for (int i = tid_x; i < parts; i += dim_x)
    if (!is_finite(losses[i])) bad = 1;
  bad = group_sum(bad, scratch);
  for (int i = tid_x; i < groups; i += dim_x) {
    float s = max_norm > 0 ? min_(1.0f, max_norm / (sqrt_(squares[i]) + 1e-6f)) : 1.0f;
    scale[i] = bad > 0 ? bits_f32(0x7fc00000u) : s;
  }
  if (tid_x == 0) *missed = bad > 0 ? 1.0f : 0.0f;
}

// Whether a scale is NaN, in all threads of the block.
DEVICE bool skips(const float *scale, int groups, float *scratch) {
  float bad = 0;
  for (int i = tid_x; i < groups; i += dim_x)
    if (scale[i] != scale[i]) bad = 1;
  return group_sum(bad, scratch) > 0;
}

// dst = momentum·dst + rest·src, unless a scale is NaN.
KERNEL THREADS(256) void ema(float *dst, const float *src, const float *scale, float momentum, float rest, int n, int groups) {
  SHARED static float scratch[33];
  if (skips(scale, groups, scratch)) return;
  int hi = min_(n, (block_x + 1) * 1024);
  for (int i = block_x * 1024 + tid_x; i < hi; i += dim_x) dst[i] = momentum * dst[i] + rest * src[i];
}

// 1 - β^t for t >= 1, from rest = 1 - β: u(2n) = u(n)·(2 - u(n)) and u(n+1) = u(n) + rest·(1 - u(n)) lose no digits where
// β^t is near 1.
DEVICE float one_minus_power(float rest, int t) {
  float u = 0;
#pragma unroll 1
  for (int bit = 30; bit >= 0; bit--) {
    u = u * (2 - u);
    if (t >> bit & 1) u = fma_(rest, 1 - u, u);
  }
  return u;
}

// bias1 and bias2 are 1/(1-β^t) for t = steps; rest1, rest2 and rest are 1-β1, 1-β2 and 1-momentum, which f32 would round
// badly. missed, if there, holds how many of the steps before were not carried out, and t = steps - missed. A NaN among the
// scales stops all blocks: the step is skipped.
KERNEL THREADS(256) void adamw(const Entry *entries, const Chunk *chunks, const float *scale, const float *missed, float lr, float wd, float beta1, float rest1,
                               float beta2, float rest2, float eps, float bias1, float bias2, float momentum, float rest, int groups, int steps) {
  SHARED static float scratch[33];
  if (skips(scale, groups, scratch)) return;
  if (missed) { // also where it is 0, so that a run with a missed step has the bits of one without
    int t = steps - (int)*missed;
    bias1 = 1 / one_minus_power(rest1, t);
    bias2 = 1 / one_minus_power(rest2, t);
  }
  Chunk ch = chunks[block_x];
  Entry e = entries[ch.entry];
  float clip = scale[e.group];
  float step = lr * e.lr_mul, decay = step * wd * e.wd_mul;
  int hi = min_(e.n, ch.lo + CHUNK);
  bool still = e.flags & 1;
  for (int i = ch.lo + tid_x; i < hi; i += dim_x) {
    float p = e.param[i];
    if (!still) {
      float g = at(e.grad, i) * clip;
      p -= decay * p;
      float m = beta1 * e.m[i] + rest1 * g;
      float v = beta2 * e.v[i] + rest2 * g * g;
      e.m[i] = m;
      e.v[i] = v;
      p -= step * (m * bias1) / (sqrt_(v * bias2) + eps);
      e.param[i] = p;
    }
    if (e.half) store(e.half + i, p);
    if (e.ema) {
      float t = momentum * e.ema[i] + rest * p;
      e.ema[i] = t;
      if (e.ema16) store(e.ema16 + i, t);
    }
  }
}
