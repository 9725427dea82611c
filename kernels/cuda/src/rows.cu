// Row by row: LayerNorm, L2 and weight normalisation. The x dimension of a block is the group of threads that
// shares one row (a warp up to 1,024 columns, 256 threads above), y counts the rows of a block. A row is read
// once from memory and again from cache; the backward passes write one partial parameter gradient per block,
// which col_reduce adds up in block order.
#include "prelude.h"

#define SCRATCH SHARED static float scratch[33 * 8]

template <int N, class F> DEVICE void over(int cols, F f) {
  for (int c = tid_x * N; c < cols; c += dim_x * N) f(c);
}

template <class T, int N>
DEVICE void layer_norm(float *scratch, T *y, float *mean, float *rstd, const T *x, Any gamma, Any beta, float eps, int rows, int cols) {
  int r = block_x * dim_y + tid_y;
  bool live = r < rows;
  if (!live) r = rows - 1; // idle groups repeat the last row, so that all threads meet at the barriers
  const T *px = x + (i64)r * cols;
  float s = 0;
  over<N>(cols, [&](int c) {
    Vec<N> a = load_vec<N>(px + c);
    for (int j = 0; j < N; j++) s += a.v[j];
  });
  float mu = group_sum(s, scratch) / (float)cols;
  float q = 0;
  over<N>(cols, [&](int c) {
    Vec<N> a = load_vec<N>(px + c);
    for (int j = 0; j < N; j++) q = fma_(a.v[j] - mu, a.v[j] - mu, q);
  });
  float rs = 1.0f / sqrt_(group_sum(q, scratch) / (float)cols + eps);
  if (!live) return;
  if (tid_x == 0) {
    mean[r] = mu;
    rstd[r] = rs;
  }
  T *py = y + (i64)r * cols;
  over<N>(cols, [&](int c) {
    Vec<N> a = load_vec<N>(px + c), g = at_vec<N>(gamma, c), b = at_vec<N>(beta, c);
    for (int j = 0; j < N; j++) a.v[j] = fma_((a.v[j] - mu) * rs, g.v[j], b.v[j]);
    store_vec<N>(py + c, a);
  });
}
#define LAYER_NORM(S, T, N) \
  KERNEL THREADS(256) void layer_norm_##S(T *y, float *mean, float *rstd, const T *x, Any gamma, Any beta, float eps, int rows, int cols) { \
    SCRATCH; \
    layer_norm<T, N>(scratch, y, mean, rstd, x, gamma, beta, eps, rows, cols); \
  }
FOR_TYPES(LAYER_NORM)

// dx of LayerNorm. With g = dy·gamma and h = (x-mean)·rstd: dx = rstd·(g - mean(g) - h·mean(g·h)).
template <class T, int N>
DEVICE void layer_norm_backward(float *scratch, T *dx, const T *dy, const T *x, const float *mean, const float *rstd, Any gamma, int accumulate, int rows, int cols) {
  int r = block_x * dim_y + tid_y;
  bool live = r < rows;
  if (!live) r = rows - 1;
  const T *px = x + (i64)r * cols, *pd = dy + (i64)r * cols;
  float mu = mean[r], rs = rstd[r], s = 0, q = 0;
  over<N>(cols, [&](int c) {
    Vec<N> a = load_vec<N>(px + c), d = load_vec<N>(pd + c), w = at_vec<N>(gamma, c);
    for (int j = 0; j < N; j++) {
      float g = d.v[j] * w.v[j];
      s += g;
      q = fma_(g, (a.v[j] - mu) * rs, q);
    }
  });
  s = group_sum(s, scratch) / (float)cols;
  q = group_sum(q, scratch) / (float)cols;
  if (!live) return;
  T *po = dx + (i64)r * cols;
  over<N>(cols, [&](int c) {
    Vec<N> a = load_vec<N>(px + c), d = load_vec<N>(pd + c), w = at_vec<N>(gamma, c);
    for (int j = 0; j < N; j++) a.v[j] = rs * (d.v[j] * w.v[j] - s - (a.v[j] - mu) * rs * q);
    if (accumulate) {
      Vec<N> o = load_vec<N>(po + c);
      for (int j = 0; j < N; j++) a.v[j] += o.v[j];
    }
    store_vec<N>(po + c, a);
  });
}
// Partial dgamma and dbeta: block (column tile, row stripe); each thread owns N columns and walks the rows of
// its stripe in order. partial [2, stripes, cols].
template <class T, int N>
DEVICE void layer_norm_params(float *partial, const T *dy, const T *x, const float *mean, const float *rstd, int rows, int cols, int stripe) {
  int c = (block_x * dim_x + tid_x) * N;
  if (c >= cols) return;
  int lo = block_y * stripe, hi = min_(rows, lo + stripe);
  float g[N], b[N];
  for (int j = 0; j < N; j++) g[j] = b[j] = 0;
  for (int r = lo; r < hi; r++) {
    Vec<N> a = load_vec<N>(x + (i64)r * cols + c), d = load_vec<N>(dy + (i64)r * cols + c);
    float mu = mean[r], rs = rstd[r];
    for (int j = 0; j < N; j++) {
      g[j] = fma_(d.v[j], (a.v[j] - mu) * rs, g[j]);
      b[j] += d.v[j];
    }
  }
  float *pg = partial + (i64)block_y * cols, *pb = pg + (i64)grid_y * cols;
  Vec<N> vg, vb;
  for (int j = 0; j < N; j++) {
    vg.v[j] = g[j];
    vb.v[j] = b[j];
  }
  store_vec<N>(pg + c, vg);
  store_vec<N>(pb + c, vb);
}
#define LAYER_NORM_BACKWARD(S, T, N) \
  KERNEL THREADS(256) void layer_norm_backward_##S(T *dx, const T *dy, const T *x, const float *mean, const float *rstd, Any gamma, int accumulate, int rows, int cols) { \
    SCRATCH; \
    layer_norm_backward<T, N>(scratch, dx, dy, x, mean, rstd, gamma, accumulate, rows, cols); \
  } \
  KERNEL THREADS(128) void layer_norm_params_##S(float *partial, const T *dy, const T *x, const float *mean, const float *rstd, int rows, int cols, int stripe) { \
    layer_norm_params<T, N>(partial, dy, x, mean, rstd, rows, cols, stripe); \
  }
FOR_TYPES(LAYER_NORM_BACKWARD)

template <class T, int N>
DEVICE void l2_normalize(float *scratch, T *y, float *norm, const T *x, float eps, int rows, int cols) {
  int r = block_x * dim_y + tid_y;
  bool live = r < rows;
  if (!live) r = rows - 1;
  const T *px = x + (i64)r * cols;
  float s = 0;
  over<N>(cols, [&](int c) {
    Vec<N> a = load_vec<N>(px + c);
    for (int j = 0; j < N; j++) s = fma_(a.v[j], a.v[j], s);
  });
  float n = max_(sqrt_(group_sum(s, scratch)), eps);
  if (!live) return;
  if (tid_x == 0) norm[r] = n;
  float inv = 1.0f / n;
  T *py = y + (i64)r * cols;
  over<N>(cols, [&](int c) {
    Vec<N> a = load_vec<N>(px + c);
    for (int j = 0; j < N; j++) a.v[j] *= inv;
    store_vec<N>(py + c, a);
  });
}

template <class T, int N>
DEVICE void l2_normalize_backward(float *scratch, T *dx, const T *dy, const T *y, const float *norm, float eps, int rows, int cols) {
  int r = block_x * dim_y + tid_y;
  bool live = r < rows;
  if (!live) r = rows - 1;
  const T *py = y + (i64)r * cols, *pd = dy + (i64)r * cols;
  float s = 0;
  over<N>(cols, [&](int c) {
    Vec<N> a = load_vec<N>(py + c), d = load_vec<N>(pd + c);
    for (int j = 0; j < N; j++) s = fma_(a.v[j], d.v[j], s);
  });
  s = group_sum(s, scratch);
  if (!live) return;
  float n = norm[r], inv = 1.0f / n;
  if (n == eps) s = 0;
  T *po = dx + (i64)r * cols;
  over<N>(cols, [&](int c) {
    Vec<N> a = load_vec<N>(py + c), d = load_vec<N>(pd + c);
    for (int j = 0; j < N; j++) a.v[j] = (d.v[j] - a.v[j] * s) * inv;
    store_vec<N>(po + c, a);
  });
}

// w[r] = gain[r]·v[r]/‖v[r]‖; gain may be null.
template <class W, class T, int N>
DEVICE void weight_norm(float *scratch, W *w, float *norm, const T *v, Any gain, int rows, int cols) {
  int r = block_x * dim_y + tid_y;
  bool live = r < rows;
  if (!live) r = rows - 1;
  const T *pv = v + (i64)r * cols;
  float s = 0;
  over<N>(cols, [&](int c) {
    Vec<N> a = load_vec<N>(pv + c);
    for (int j = 0; j < N; j++) s = fma_(a.v[j], a.v[j], s);
  });
  float n = sqrt_(group_sum(s, scratch));
  if (!live) return;
  if (tid_x == 0) norm[r] = n;
  float f = (gain ? at(gain, r) : 1.0f) / n;
  W *pw = w + (i64)r * cols;
  over<N>(cols, [&](int c) {
    Vec<N> a = load_vec<N>(pv + c);
    for (int j = 0; j < N; j++) a.v[j] *= f;
    store_vec<N>(pw + c, a);
  });
}

// dgain[r] += dw·u, dv += gain/norm·(dw - u·(u·dw)), u = v/norm.
template <class P, class G, class T, int N>
DEVICE void weight_norm_backward(float *scratch, P *dv, Any dgain, const G *dw, const T *v, Any gain, const float *norm, int rows, int cols) {
  int r = block_x * dim_y + tid_y;
  bool live = r < rows;
  if (!live) r = rows - 1;
  const T *pv = v + (i64)r * cols;
  const G *pd = dw + (i64)r * cols;
  float inv = 1.0f / norm[r], s = 0;
  over<N>(cols, [&](int c) {
    Vec<N> a = load_vec<N>(pv + c), d = load_vec<N>(pd + c);
    for (int j = 0; j < N; j++) s = fma_(a.v[j] * inv, d.v[j], s);
  });
  s = group_sum(s, scratch);
  if (!live) return;
  if (dgain && tid_x == 0) put(dgain, r, at(dgain, r) + s);
  if (!dv) return;
  float f = (gain ? at(gain, r) : 1.0f) * inv;
  P *po = dv + (i64)r * cols;
  over<N>(cols, [&](int c) {
    Vec<N> a = load_vec<N>(pv + c), d = load_vec<N>(pd + c), o = load_vec<N>(po + c);
    for (int j = 0; j < N; j++) o.v[j] = fma_(f, d.v[j] - a.v[j] * inv * s, o.v[j]);
    store_vec<N>(po + c, o);
  });
}
#define NORMS(S, T, N) \
  KERNEL THREADS(256) void l2_normalize_##S(T *y, float *norm, const T *x, float eps, int rows, int cols) { \
    SCRATCH; \
    l2_normalize<T, N>(scratch, y, norm, x, eps, rows, cols); \
  } \
  KERNEL THREADS(256) void l2_normalize_backward_##S(T *dx, const T *dy, const T *y, const float *norm, float eps, int rows, int cols) { \
    SCRATCH; \
    l2_normalize_backward<T, N>(scratch, dx, dy, y, norm, eps, rows, cols); \
  }
FOR_TYPES(NORMS)

#define WEIGHT_NORM(S, W, T, N) \
  KERNEL THREADS(256) void weight_norm_##S(W *w, float *norm, const T *v, Any gain, int rows, int cols) { \
    SCRATCH; \
    weight_norm<W, T, N>(scratch, w, norm, v, gain, rows, cols); \
  }
WEIGHT_NORM(f32_f32, float, float, 1)
WEIGHT_NORM(f32_f32v, float, float, 4)
WEIGHT_NORM(bf16_f32, bf16, float, 1)
WEIGHT_NORM(bf16_f32v, bf16, float, 4)
WEIGHT_NORM(bf16_bf16, bf16, bf16, 1)
WEIGHT_NORM(bf16_bf16v, bf16, bf16, 4)

// The types are those of dv, dw and v.
#define WEIGHT_NORM_BACKWARD(S, P, G, T, N) \
  KERNEL THREADS(256) void weight_norm_backward_##S(P *dv, Any dgain, const G *dw, const T *v, Any gain, const float *norm, int rows, int cols) { \
    SCRATCH; \
    weight_norm_backward<P, G, T, N>(scratch, dv, dgain, dw, v, gain, norm, rows, cols); \
  }
WEIGHT_NORM_BACKWARD(f32_f32_f32, float, float, float, 1)
WEIGHT_NORM_BACKWARD(f32_f32_f32v, float, float, float, 4)
WEIGHT_NORM_BACKWARD(f32_bf16_f32, float, bf16, float, 1)
WEIGHT_NORM_BACKWARD(f32_bf16_f32v, float, bf16, float, 4)
WEIGHT_NORM_BACKWARD(f32_bf16_bf16, float, bf16, bf16, 1)
WEIGHT_NORM_BACKWARD(f32_bf16_bf16v, float, bf16, bf16, 4)
WEIGHT_NORM_BACKWARD(bf16_bf16_f32, bf16, bf16, float, 1)
WEIGHT_NORM_BACKWARD(bf16_bf16_f32v, bf16, bf16, float, 4)
WEIGHT_NORM_BACKWARD(bf16_bf16_bf16, bf16, bf16, bf16, 1)
WEIGHT_NORM_BACKWARD(bf16_bf16_bf16v, bf16, bf16, bf16, 4)
