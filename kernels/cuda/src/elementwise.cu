// Element by element: one thread per N consecutive elements, N = 4 where the length allows it, so that a warp
// reads 512 bytes (f32) or 256 bytes (bf16) at a time.
#include "prelude.h"

DEVICE int element(int n) { return (block_x * dim_x + tid_x) * n; }

#define FILL(S, T, N) \
  KERNEL THREADS(256) void fill_##S(T *dst, float v, int n) { \
    int i = element(N); \
    if (i >= n) return; \
    Vec<N> a; \
    for (int j = 0; j < N; j++) a.v[j] = v; \
    store_vec<N>(dst + i, a); \
  }
FOR_TYPES(FILL)

// Copies between types.
#define CONVERT(S, T, U, N) \
  KERNEL THREADS(256) void convert_##S(T *dst, const U *src, int n) { \
    int i = element(N); \
    if (i < n) store_vec<N>(dst + i, load_vec<N>(src + i)); \
  }
CONVERT(f32_bf16, float, bf16, 1)
CONVERT(f32_bf16v, float, bf16, 4)
CONVERT(bf16_f32, bf16, float, 1)
CONVERT(bf16_f32v, bf16, float, 4)

// y += a·x
#define AXPY(S, T, U, N) \
  KERNEL THREADS(256) void axpy_##S(T *y, const U *x, float a, int n) { \
    int i = element(N); \
    if (i >= n) return; \
    Vec<N> p = load_vec<N>(y + i), q = load_vec<N>(x + i); \
    for (int j = 0; j < N; j++) p.v[j] = fma_(a, q.v[j], p.v[j]); \
    store_vec<N>(y + i, p); \
  }
AXPY(f32_f32, float, float, 1)
AXPY(f32_f32v, float, float, 4)
AXPY(f32_bf16, float, bf16, 1)
AXPY(f32_bf16v, float, bf16, 4)
AXPY(bf16_f32, bf16, float, 1)
AXPY(bf16_f32v, bf16, float, 4)
AXPY(bf16_bf16, bf16, bf16, 1)
AXPY(bf16_bf16v, bf16, bf16, 4)

#define SCALE(S, T, N) \
  KERNEL THREADS(256) void scale_##S(T *x, float a, int n) { \
    int i = element(N); \
    if (i >= n) return; \
    Vec<N> p = load_vec<N>(x + i); \
    for (int j = 0; j < N; j++) p.v[j] *= a; \
    store_vec<N>(x + i, p); \
  }
FOR_TYPES(SCALE)

// out[r,c] = x[r,c]·row[r]·col[c]; row and col may be null. With N = 4 the columns are a multiple of 4.
#define SCALE_ROWS_COLS(S, T, N) \
  KERNEL THREADS(256) void scale_rows_cols_##S(T *out, const T *x, Any row, Any col, int cols, int n) { \
    int i = element(N); \
    if (i >= n) return; \
    int r = i / cols, c = i - r * cols; \
    Vec<N> p = load_vec<N>(x + i); \
    float s = row ? at(row, r) : 1.0f; \
    for (int j = 0; j < N; j++) p.v[j] *= s; \
    if (col) { \
      Vec<N> w = at_vec<N>(col, c); \
      for (int j = 0; j < N; j++) p.v[j] *= w.v[j]; \
    } \
    store_vec<N>(out + i, p); \
  }
FOR_TYPES(SCALE_ROWS_COLS)

// One thread draws the four words of four elements.
#define DROPOUT(S, T, N) \
  KERNEL THREADS(256) void dropout_##S(T *out, const T *x, float p, float keep, u64 seed, u32 offset, int n) { \
    int i = element(4); \
    if (i >= n) return; \
    Words w = philox(seed, (u32)i / 4, 0, offset, 0); \
    if (N == 4) { \
      Vec<N> a = load_vec<N>(x + i); \
      for (int j = 0; j < N; j++) asm("" : "+f"(a.v[j])); /* all are needed: else the load falls apart into conditional ones */ \
      for (int j = 0; j < N; j++) a.v[j] = (float)w.w[j] * 2.3283064365386963e-10f >= p ? a.v[j] * keep : 0.0f; \
      store_vec<N>(out + i, a); \
      return; \
    } \
    for (int j = 0; j < 4; j++) \
      if (i + j < n) store(out + i + j, (float)w.w[j] * 2.3283064365386963e-10f >= p ? load(x + i + j) * keep : 0.0f); \
  }
FOR_TYPES(DROPOUT)

// The standard normal distribution function as version 1 has it: |x| < 1 uses the odd power series of erf, elsewhere the rational
// approximation 7.1.26 of Abramowitz and Stegun (absolute error below 1.5e-7), which keeps its absolute
// accuracy through the tails.
DEVICE float normal_cdf_v1(float x) {
  float z = x * 0.70710678118654752f;
  float a = abs_(z);
  float erf;
  if (a < 0.7071068f) {
    float s = z * z;
    float p = 1.0f + s * (-0.33333333f + s * (0.1f + s * (-0.023809524f + s * (0.0046296296f + s * (-0.00075757576f + s * (0.00010683761f - s * 0.000013227513f))))));
    erf = 1.1283791670955126f * z * p;
  } else {
    float t = 1.0f / fma_(0.3275911f, a, 1.0f);
    float p = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    erf = 1.0f - p * exp_(-a * a);
    erf = z < 0 ? -erf : erf;
  }
  return 0.5f + 0.5f * erf;
}

DEVICE float activate_v1(int act, float x) { return act == ACT_GELU ? x * normal_cdf_v1(x) : activate(act, x); }
DEVICE float activate_grad_v1(int act, float x) {
  return act == ACT_GELU ? normal_cdf_v1(x) + x * 0.3989422804014327f * exp_(-0.5f * x * x) : activate_grad(act, x);
}

// Version 1; version 2 is in wide.cu.
#define ACT(S, T, N) \
  KERNEL THREADS(256) void act_##S(T *out, const T *x, int act, int n) { \
    int i = element(N); \
    if (i >= n) return; \
    Vec<N> p = load_vec<N>(x + i); \
    for (int j = 0; j < N; j++) p.v[j] = activate_v1(act, p.v[j]); \
    store_vec<N>(out + i, p); \
  } \
  KERNEL THREADS(256) void act_backward_##S(T *dx, const T *dy, const T *x, int act, int n) { \
    int i = element(N); \
    if (i >= n) return; \
    Vec<N> p = load_vec<N>(x + i), g = load_vec<N>(dy + i); \
    for (int j = 0; j < N; j++) p.v[j] = g.v[j] * activate_grad_v1(act, p.v[j]); \
    store_vec<N>(dx + i, p); \
  }
FOR_TYPES(ACT)

// out[r,j] = silu(x[r,j])·x[r,H+j]; n = rows·H.
#define SWIGLU(S, T, N) \
  KERNEL THREADS(256) void swiglu_##S(T *out, const T *x, int h, int n) { \
    int i = element(N); \
    if (i >= n) return; \
    int r = i / h, c = i - r * h; \
    const T *row = x + (i64)r * 2 * h + c; \
    Vec<N> a = load_vec<N>(row), b = load_vec<N>(row + h); \
    for (int j = 0; j < N; j++) a.v[j] = a.v[j] * sigmoid_(a.v[j]) * b.v[j]; \
    store_vec<N>(out + i, a); \
  } \
  KERNEL THREADS(256) void swiglu_backward_##S(T *dx, const T *dy, const T *x, int h, int n) { \
    int i = element(N); \
    if (i >= n) return; \
    int r = i / h, c = i - r * h; \
    i64 at = (i64)r * 2 * h + c; \
    Vec<N> a = load_vec<N>(x + at), b = load_vec<N>(x + at + h), g = load_vec<N>(dy + i); \
    for (int j = 0; j < N; j++) { \
      float s = sigmoid_(a.v[j]), silu = a.v[j] * s; \
      float da = g.v[j] * b.v[j] * (s + silu * (1.0f - s)); \
      b.v[j] = g.v[j] * silu; \
      a.v[j] = da; \
    } \
    store_vec<N>(dx + at, a); \
    store_vec<N>(dx + at + h, b); \
  }
FOR_TYPES(SWIGLU)
