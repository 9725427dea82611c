// Sums over columns and over everything, in two steps of fixed order: partial sums per stripe of rows, then one
// pass over the stripes. No atomics: the bits do not depend on the schedule.
#include "prelude.h"

template <int N, class F> DEVICE void over(int cols, F f) {
  for (int c = tid_x * N; c < cols; c += dim_x * N) f(c);
}

// out[c] = scale·Σ_s partial[s, c] (+ out[c] with accumulate) for partial [stripes, cols]; the columns from first on are
// those of rest. Row y of the block adds stripes y, y + dim_y, … and row 0 then adds the rows' sums in order.
KERNEL THREADS(512) void col_reduce(Any out, Any rest, const float *partial, float scale, int accumulate, int stripes, int cols, int first) {
  SHARED static float sums[512];
  int c = block_x * dim_x + tid_x;
  float s = 0;
  if (c < cols)
    for (int i = tid_y; i < stripes; i += dim_y) s += partial[(i64)i * cols + c];
  sums[tid_y * dim_x + tid_x] = s;
  sync_block();
  if (tid_y > 0 || c >= cols) return;
  for (int y = 1; y < dim_y; y++) s += sums[y * dim_x + tid_x];
  s *= scale;
  if (c >= first) {
    out = rest;
    c -= first;
  }
  put(out, c, accumulate ? at(out, c) + s : s);
}

// out[0] = scale·Σ partial (one block)
KERNEL THREADS(256) void reduce_all(float *out, const float *partial, float scale, int accumulate, int n) {
  SHARED static float scratch[33];
  float s = 0;
  for (int i = tid_x; i < n; i += dim_x) s += partial[i];
  s = group_sum(s, scratch) * scale;
  if (tid_x == 0) *out = accumulate ? *out + s : s;
}

#define REDUCE(S, T, N) \
  KERNEL THREADS(128) void col_sum_##S(float *partial, const T *x, int rows, int cols, int stripe) { \
    int c = (block_x * dim_x + tid_x) * N; \
    if (c >= cols) return; \
    int lo = block_y * stripe, hi = min_(rows, lo + stripe); \
    float s[N]; \
    for (int j = 0; j < N; j++) s[j] = 0; \
    for (int r = lo; r < hi; r++) { \
      Vec<N> a = load_vec<N>(x + (i64)r * cols + c); \
      for (int j = 0; j < N; j++) s[j] += a.v[j]; \
    } \
    Vec<N> v; \
    for (int j = 0; j < N; j++) v.v[j] = s[j]; \
    store_vec<N>(partial + (i64)block_y * cols + c, v); \
  } \
  /* mean and variance by columns: one thread for N columns, two passes */ \
  KERNEL THREADS(128) void col_moments_##S(float *mean, float *variance, const T *x, int rows, int cols) { \
    int c = (block_x * dim_x + tid_x) * N; \
    if (c >= cols) return; \
    float s[N], q[N]; \
    for (int j = 0; j < N; j++) s[j] = q[j] = 0; \
    for (int r = 0; r < rows; r++) { \
      Vec<N> a = load_vec<N>(x + (i64)r * cols + c); \
      for (int j = 0; j < N; j++) s[j] += a.v[j]; \
    } \
    for (int j = 0; j < N; j++) s[j] /= (float)rows; \
    for (int r = 0; r < rows; r++) { \
      Vec<N> a = load_vec<N>(x + (i64)r * cols + c); \
      for (int j = 0; j < N; j++) q[j] = fma_(a.v[j] - s[j], a.v[j] - s[j], q[j]); \
    } \
    Vec<N> vm, vv; \
    for (int j = 0; j < N; j++) { \
      vm.v[j] = s[j]; \
      vv.v[j] = q[j] / (float)rows; \
    } \
    store_vec<N>(mean + c, vm); \
    store_vec<N>(variance + c, vv); \
  } \
  /* partial[b] = Σ of the elements of block b, chunk elements each */ \
  KERNEL THREADS(256) void sum_##S(float *partial, const T *x, int n, int chunk) { \
    SHARED static float scratch[33]; \
    int lo = block_x * chunk, hi = min_(n, lo + chunk); \
    float s = 0; \
    for (int i = lo + tid_x * N; i < hi; i += dim_x * N) { \
      Vec<N> a = load_vec<N>(x + i); \
      for (int j = 0; j < N; j++) s += a.v[j]; \
    } \
    s = group_sum(s, scratch); \
    if (tid_x == 0) partial[block_x] = s; \
  } \
  /* da = 2·weight/n·(a-b), partial[b] = Σ (a-b)² */ \
  KERNEL THREADS(256) void mse_##S(float *partial, T *da, const T *a, const T *b, float scale, int n, int chunk) { \
    SHARED static float scratch[33]; \
    int lo = block_x * chunk, hi = min_(n, lo + chunk); \
    float s = 0; \
    for (int i = lo + tid_x * N; i < hi; i += dim_x * N) { \
      Vec<N> p = load_vec<N>(a + i), q = load_vec<N>(b + i); \
      for (int j = 0; j < N; j++) { \
        float d = p.v[j] - q.v[j]; \
        s = fma_(d, d, s); \
        p.v[j] = scale * d; \
      } \
      if (da) store_vec<N>(da + i, p); \
    } \
    s = group_sum(s, scratch); \
    if (tid_x == 0) partial[block_x] = s; \
  } \
  /* partial[b] = Σ x·log x and, after all of those, Σ x: entropy(q) = log Σx - Σ x·log x / Σx */ \
  KERNEL THREADS(256) void entropy_##S(float *partial, const T *x, int n, int chunk) { \
    SHARED static float scratch[33]; \
    int lo = block_x * chunk, hi = min_(n, lo + chunk); \
    float s = 0, q = 0; \
    for (int i = lo + tid_x * N; i < hi; i += dim_x * N) { \
      Vec<N> a = load_vec<N>(x + i); \
      for (int j = 0; j < N; j++) { \
        s += a.v[j]; \
        q = fma_(a.v[j], log_(a.v[j] >= 1.1754944e-38f ? a.v[j] : 1.0f), q); /* 0·log 0 = 0, without a branch that parts the warp; lg2 takes a subnormal for 0 */ \
      } \
    } \
    s = group_sum(s, scratch); \
    q = group_sum(q, scratch); \
    if (tid_x == 0) { \
      partial[block_x] = q; \
      partial[grid_x + block_x] = s; \
    } \
  }
FOR_TYPES(REDUCE)

KERNEL THREADS(256) void entropy_end(float *out, const float *partial, int n) {
  SHARED static float scratch[33];
  float q = 0, s = 0;
  for (int i = tid_x; i < n; i += dim_x) {
    q += partial[i];
    s += partial[n + i];
  }
  q = group_sum(q, scratch);
  s = group_sum(s, scratch);
  if (tid_x == 0) *out = log_(s) - q / s;
}

// LayerScaleBackward: one block row (group) per output n of the layer. dgamma[n] += Σ_k w·g + b·c,
// dw += gamma·g, db += gamma·c. Weights only, so the accesses are element by element whatever the type.
KERNEL THREADS(256) void layer_scale_backward(Any dw, Any db, Any dgamma, Any g, Any c, Any w, Any b, Any gamma, int rows, int cols) {
  SHARED static float scratch[33];
  int r = block_x;
  float gm = at(gamma, r), s = 0;
  for (int k = tid_x; k < cols; k += dim_x) {
    i64 i = (i64)r * cols + k;
    float v = at(g, i);
    s = fma_(at(w, i), v, s);
    if (dw) put(dw, i, at(dw, i) + gm * v);
  }
  s = group_sum(s, scratch);
  if (tid_x == 0) {
    if (b) s += at(b, r) * at(c, r);
    put(dgamma, r, at(dgamma, r) + s);
    if (db) put(db, r, at(db, r) + gm * at(c, r));
  }
}
