// Moves of rows: patches out of images, gathered and scattered rows, rotary positions.
#include "prelude.h"

// out[b,py,px, c,y,x] = images[b,c, py·p+y, px·p+x]; one thread per element of out.
#define PATCHIFY(S, T, U) \
  KERNEL THREADS(256) void patchify_##S(T *out, const U *images, int c, int h, int w, int p, int n) { \
    int i = block_x * dim_x + tid_x; \
    if (i >= n) return; \
    int dim = c * p * p, row = i / dim, e = i - row * dim; \
    int gh = h / p, gw = w / p; \
    int b = row / (gh * gw), cell = row - b * gh * gw, py = cell / gw, px = cell - py * gw; \
    int ch = e / (p * p), y = e / p % p, x = e % p; \
    store(out + i, load(images + (((i64)b * c + ch) * h + py * p + y) * w + px * p + x)); \
  }
PATCHIFY(f32_f32, float, float)
PATCHIFY(bf16_f32, bf16, float)
PATCHIFY(bf16_bf16, bf16, bf16)

// out[i] = table[index[i]], 0 for -1; with accumulate += and -1 leaves out alone. One block row per out row.
#define GATHER(S, T, U, N) \
  KERNEL THREADS(256) void gather_##S(T *out, const U *table, const int *index, int accumulate, int rows, int cols) { \
    int r = block_x * dim_y + tid_y; \
    if (r >= rows) return; \
    int from = index[r]; \
    if (from < 0 && accumulate) return; \
    T *o = out + (i64)r * cols; \
    const U *t = table + (i64)from * cols; \
    for (int c = tid_x * N; c < cols; c += dim_x * N) { \
      Vec<N> a; \
      for (int j = 0; j < N; j++) a.v[j] = 0; \
      if (from >= 0) a = load_vec<N>(t + c); \
      if (accumulate) { \
        Vec<N> b = load_vec<N>(o + c); \
        for (int j = 0; j < N; j++) a.v[j] += b.v[j]; \
      } \
      store_vec<N>(o + c, a); \
    } \
  } \
  KERNEL THREADS(256) void scatter_##S(U *dtable, const T *dout, const int *starts, const int *rows, int accumulate, int n, int cols) { \
    int r = block_x * dim_y + tid_y; \
    if (r >= n) return; \
    int lo = starts[r], hi = starts[r + 1]; \
    U *o = dtable + (i64)r * cols; \
    for (int c = tid_x * N; c < cols; c += dim_x * N) { \
      Vec<N> a; \
      for (int j = 0; j < N; j++) a.v[j] = 0; \
      for (int i = lo; i < hi; i++) { \
        Vec<N> b = load_vec<N>(dout + (i64)rows[i] * cols + c); \
        for (int j = 0; j < N; j++) a.v[j] += b.v[j]; \
      } \
      if (accumulate) { \
        Vec<N> b = load_vec<N>(o + c); \
        for (int j = 0; j < N; j++) a.v[j] += b.v[j]; \
      } \
      store_vec<N>(o + c, a); \
    } \
  }
GATHER(f32_f32, float, float, 1)
GATHER(f32_f32v, float, float, 4)
GATHER(bf16_f32, bf16, float, 1)
GATHER(bf16_f32v, bf16, float, 4)
GATHER(bf16_bf16, bf16, bf16, 1)
GATHER(bf16_bf16v, bf16, bf16, 4)

// Channel pairs (i, i+d/2) of q and k; one thread per pair. qkv [rows, 3·heads·d].
#define ROPE(S, T) \
  KERNEL THREADS(256) void rope_##S(T *qkv, const float *cosines, const float *sines, const int *index, float sign, int heads, int half, int n) { \
    int i = block_x * dim_x + tid_x; \
    if (i >= n) return; \
    int pairs = 2 * heads * half; \
    int t = i / pairs, e = i - t * pairs, h = e / half, j = e - h * half; \
    int row = index[t]; \
    if (row < 0) return; \
    float c = cosines[(i64)row * half + j], s = sign * sines[(i64)row * half + j]; \
    T *p = qkv + (i64)t * 6 * heads * half + h * 2 * half + j; \
    float a = load(p), b = load(p + half); \
    store(p, a * c - b * s); \
    store(p + half, b * c + a * s); \
  }
ROPE(f32, float)
ROPE(bf16, bf16)
