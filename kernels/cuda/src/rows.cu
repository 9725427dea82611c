// Row by row: LayerNorm, L2 and weight normalisation. The x dimension of a block is the group of threads that
// shares one row (a warp up to 1,024 columns, 256 threads above), y counts the rows of a block. A row is read
// once from memory and again from cache.
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

// The backward pass of LayerNorm. With g = dy·gamma and h = (x-mean)·rstd: dx = rstd·(g - mean(g) - h·mean(g·h)),
// dgamma = Σ dy·h and dbeta = Σ dy over the rows.
//
// version  idea                                                                            used for              measured
// any      a block walks a stripe of rows twice, the second time with a thread for each    odd widths and        not yet
//          column; partial dgamma and dbeta                                                alignments
// v        a group of threads holds a row of x and dy in registers, 16 bytes each: read    16-byte vectors, up   not yet
//          once, dx written, dgamma and dbeta of its columns summed over the block's       to 512 a row
//          stripe; the groups of a block add up through shared memory
//
// A block writes one row of partial [stripes, 2, cols], which col_reduce adds up in the order of the stripes. There are
// 264 stripes, two for each of an H100's processors, of 32 rows at least; the shape alone decides.
//
// Two numbers: 15 FLOPs an element; bytes 6 an element in bf16 (8 when dx is added to) and 16 for each stripe and column.
// A step of ViT-S/14 with 64 images has 58,496 rows of 384: 337 MFLOP, 5 us; 180 MB, 60 us at the 3.0 TB/s that a copy
// reaches on an H100. Prediction: 70 us, since 1,024 threads of a processor have 48 bytes each on their way while a tenth
// of the time goes into sums and the barrier; two launches that read x and dy twice took 12 bytes an element, 90 us.
#define MOST 512
template <class T, int N>
DEVICE void layer_norm_backward(T *dx, float *partial, const T *dy, const T *x, const float *mean, const float *rstd, Any gamma, int accumulate, int rows, int cols, int stripe) {
  SHARED static float2v sums[2][MOST / 32]; // by warp; two, so that one barrier a row is enough
  // A thread's N columns as N / 4 vectors. The second ones lie half a line further, so that neither a thread's own vectors
  // nor those of neighbouring columns meet in a bank.
  SHARED static float4v parts[2][N / 4][MOST + 4];
  int lo = block_x * stripe, hi = min_(rows, lo + stripe);
  int c = tid_x * N, thread = tid_y * dim_x + tid_x, threads = dim_x * dim_y;
  bool mine = c < cols;
  float share = 1.0f / (float)cols;
  Vec<N> w = {}, dgamma = {}, dbeta = {};
  for (int v = thread; v < cols / 4; v += threads) {
    Vec<4> g = at_vec<4>(gamma, 4 * v);
    parts[0][v % (N / 4)][v / (N / 4)] = {g.v[0], g.v[1], g.v[2], g.v[3]};
  }
  sync_block();
  if (mine)
    for (int j = 0; j < N; j++) w.v[j] = parts[0][j / 4][tid_x][j % 4];
  for (int r0 = lo, turn = 0; r0 < hi; r0 += dim_y, turn ^= 1) {
    int r = r0 + tid_y;
    bool live = mine && r < hi; // the others add zeros, so that all threads meet at the barrier
    i64 at = (i64)r * cols + c;
    uint4v px = {}, pd = {}, po = {};
    float mu = 0, rs = 0, s = 0, q = 0;
    if (live) {
      px = *(const uint4v *)(x + at), pd = *(const uint4v *)(dy + at);
      if (accumulate) po = *(const uint4v *)(dx + at);
      mu = mean[r], rs = rstd[r];
    }
    Vec<N> a = unpack<T>(px), d = unpack<T>(pd);
    for (int j = 0; j < N; j++) {
      float g = d.v[j] * w.v[j];
      s += g;
      q = fma_(g, (a.v[j] - mu) * rs, q);
    }
    s = warp_sum(s);
    q = warp_sum(q);
    if (dim_x > 32) {
      if ((tid_x & 31) == 0) sums[turn][thread >> 5] = {s, q};
      sync_block();
      s = q = 0;
#pragma unroll 1
      for (int i = 0; i < (dim_x >> 5); i++) {
        float2v v = sums[turn][((tid_y * dim_x) >> 5) + i];
        s += v.x, q += v.y;
      }
    }
    s *= share;
    q *= share;
    if (!live) continue;
    unpack_again(px);
    unpack_again(pd);
    a = unpack<T>(px), d = unpack<T>(pd);
    Vec<N> o = unpack<T>(po);
    for (int j = 0; j < N; j++) {
      float h = (a.v[j] - mu) * rs;
      o.v[j] += rs * (d.v[j] * w.v[j] - s - h * q);
      dgamma.v[j] = fma_(d.v[j], h, dgamma.v[j]);
      dbeta.v[j] += d.v[j];
    }
    store_vec<N>(dx + at, o);
  }
  if (!partial) return;
  sync_block();
  for (int j = 0; j < N; j += 4) {
    parts[0][j / 4][thread] = {dgamma.v[j], dgamma.v[j + 1], dgamma.v[j + 2], dgamma.v[j + 3]};
    parts[1][j / 4][thread] = {dbeta.v[j], dbeta.v[j + 1], dbeta.v[j + 2], dbeta.v[j + 3]};
  }
  sync_block();
  float4v *to = (float4v *)(partial + (i64)block_x * 2 * cols);
  for (int v = thread; v < cols / 2; v += threads) {
    int p = v >= cols / 4, u = p ? v - cols / 4 : v;
    float4v t = {};
    for (int y = 0; y < dim_y; y++) t += parts[p][u % (N / 4)][y * dim_x + u / (N / 4)];
    to[v] = t;
  }
}

// sums [rows, 2] keeps what the second walk needs of each row.
template <class T>
DEVICE void layer_norm_backward_any(float *scratch, T *dx, float *partial, float *sums, const T *dy, const T *x, const float *mean, const float *rstd, Any gamma, int accumulate, int rows, int cols, int stripe) {
  int lo = block_x * stripe, hi = min_(rows, lo + stripe);
  for (int r = lo; r < hi; r++) {
    float mu = mean[r], rs = rstd[r], s = 0, q = 0;
    for (int c = tid_x; c < cols; c += dim_x) {
      float g = load(dy + (i64)r * cols + c) * at(gamma, c);
      s += g;
      q = fma_(g, (load(x + (i64)r * cols + c) - mu) * rs, q);
    }
    s = group_sum(s, scratch);
    q = group_sum(q, scratch);
    if (tid_x == 0) {
      sums[2 * (i64)r] = s / (float)cols;
      sums[2 * (i64)r + 1] = q / (float)cols;
    }
  }
  sync_block();
  for (int c = tid_x; c < cols; c += dim_x) {
    float w = at(gamma, c), dg = 0, db = 0;
    for (int r = lo; r < hi; r++) {
      i64 i = (i64)r * cols + c;
      float rs = rstd[r], h = (load(x + i) - mean[r]) * rs, d = load(dy + i);
      float v = rs * (d * w - sums[2 * (i64)r] - h * sums[2 * (i64)r + 1]);
      store(dx + i, accumulate ? v + load(dx + i) : v);
      dg = fma_(d, h, dg);
      db += d;
    }
    if (partial) {
      float *to = partial + (i64)block_x * 2 * cols + c;
      to[0] = dg;
      to[cols] = db;
    }
  }
}
#define LAYER_NORM_BACKWARD(S, T, N) \
  KERNEL THREADS(256) void layer_norm_backward_##S(T *dx, float *partial, float *sums, const T *dy, const T *x, const float *mean, const float *rstd, Any gamma, int accumulate, int rows, int cols, int stripe) { \
    SHARED static float scratch[33]; \
    layer_norm_backward_any(scratch, dx, partial, sums, dy, x, mean, rstd, gamma, accumulate, rows, cols, stripe); \
  } \
  KERNEL THREADS_BLOCKS(MOST, 2) void layer_norm_backward_##S##v(T *dx, float *partial, const T *dy, const T *x, const float *mean, const float *rstd, Any gamma, int accumulate, int rows, int cols, int stripe) { \
    layer_norm_backward<T, N>(dx, partial, dy, x, mean, rstd, gamma, accumulate, rows, cols, stripe); \
  }
LAYER_NORM_BACKWARD(f32, float, 4)
LAYER_NORM_BACKWARD(bf16, bf16, 8)

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
