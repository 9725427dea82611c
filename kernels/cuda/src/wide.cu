// Version 2 of the kernels that move bytes: 16 bytes in one access, several accesses in flight in every thread, one pass
// where version 1 makes two. An SM of a Hopper chip hides the latency of memory with about 20 KB in flight; version 1 has
// one access of 8 bytes in each thread. Rows must be multiples of 16 bytes and lie on multiples of 16 bytes; the backend
// takes version 1 elsewhere. Share of the bandwidth of a copy on an H200, version 1 measured, version 2 in bench/movers.md:
//
//	kernel          version 1                                  version 2
//	act             41 %: a branch and a division in erf       one exponential of a polynomial, no branch
//	act_backward    41 %                                       the same and the density's exponential
//	rope            34 %: one pair of channels a thread        16 bytes of both halves; cosines stay in registers
//	patchify        18 %: five divisions an element            rows of patches turned in shared memory
//	row_lse         46 %                                       base 2; one rescaling for several accesses
//	col_sum_exp     45 %                                       several rows in flight
//	cross_entropy   26 %: student rows are read three times    one pass, eight student rows share their teachers in L1
//	col_moments     7 %: two passes, one block for 512 columns  one pass over stripes of rows, merged in order
//	grad_squares    48 %: element by element                   four accesses in flight
#include "prelude.h"

template <class T> inline constexpr int WIDTH = 16 / sizeof(T);

// Elements of one access.
template <class T> DEVICE uint4v raw(const T *p) { return *(const uint4v *)p; }
template <class T> DEVICE Vec<WIDTH<T>> wide(const T *p) { return unpack<T>(raw(p)); }

// ---- activations ----

// A block covers 512 accesses: each thread two, 256 apart.
#define ACTS 2

template <int ACT, class T> DEVICE void act_wide(T *out, const T *x, int n) {
  constexpr int W = WIDTH<T>;
  int i = (block_x * ACTS * 256 + tid_x) * W;
  uint4v q[ACTS];
#pragma unroll
  for (int u = 0; u < ACTS; u++)
    if (i + u * 256 * W < n) q[u] = raw(x + i + u * 256 * W);
#pragma unroll
  for (int u = 0; u < ACTS; u++)
    if (i + u * 256 * W < n) {
      Vec<W> a = unpack<T>(q[u]);
#pragma unroll
      for (int j = 0; j < W; j++) a.v[j] = activate(ACT, a.v[j]);
      store_vec<W>(out + i + u * 256 * W, a);
    }
}

template <int ACT, class T> DEVICE void act_backward_wide(T *dx, const T *dy, const T *x, int n) {
  constexpr int W = WIDTH<T>;
  int i = (block_x * ACTS * 256 + tid_x) * W;
  uint4v p[ACTS], q[ACTS];
#pragma unroll
  for (int u = 0; u < ACTS; u++)
    if (i + u * 256 * W < n) p[u] = raw(x + i + u * 256 * W), q[u] = raw(dy + i + u * 256 * W);
#pragma unroll
  for (int u = 0; u < ACTS; u++)
    if (i + u * 256 * W < n) {
      Vec<W> a = unpack<T>(p[u]), g = unpack<T>(q[u]);
#pragma unroll
      for (int j = 0; j < W; j++) a.v[j] = g.v[j] * activate_grad(ACT, a.v[j]);
      store_vec<W>(dx + i + u * 256 * W, a);
    }
}

#define FOR_ACTS(F, ...) \
  switch (act) { \
  case ACT_NONE: F<ACT_NONE>(__VA_ARGS__); break; \
  case ACT_GELU: F<ACT_GELU>(__VA_ARGS__); break; \
  case ACT_GELU_TANH: F<ACT_GELU_TANH>(__VA_ARGS__); break; \
  case ACT_QUICK_GELU: F<ACT_QUICK_GELU>(__VA_ARGS__); break; \
  case ACT_SILU: F<ACT_SILU>(__VA_ARGS__); break; \
  case ACT_RELU: F<ACT_RELU>(__VA_ARGS__); break; \
  case ACT_TANH: F<ACT_TANH>(__VA_ARGS__); break; \
  }

#define ACT(S, T) \
  KERNEL THREADS(256) void act_##S(T *out, const T *x, int act, int n) { FOR_ACTS(act_wide, out, x, n) } \
  KERNEL THREADS(256) void act_backward_##S(T *dx, const T *dy, const T *x, int act, int n) { FOR_ACTS(act_backward_wide, dx, dy, x, n) }
ACT(f32w, float)
ACT(bf16w, bf16)

// ---- rotary positions ----

// One warp a token. Channels i and i + half of a head are a pair; per is half in accesses, a divisor of 32, so that a lane
// meets the same channels in every head and keeps their cosines.
#define ROPE(S, T) \
  KERNEL THREADS(256) void rope_##S(T *qkv, const float *cosines, const float *sines, const int *index, float sign, int heads, int half, int rows) { \
    constexpr int W = WIDTH<T>; \
    int t = block_x * dim_y + tid_y; \
    if (t >= rows) return; \
    int row = index[t]; \
    if (row < 0) return; \
    int per = half / W, j = (tid_x & (per - 1)) * W; \
    Vec<W> c, s; \
    for (int k = 0; k < W; k += 4) { \
      Vec<4> a = load_vec<4>(cosines + (i64)row * half + j + k), b = load_vec<4>(sines + (i64)row * half + j + k); \
      for (int l = 0; l < 4; l++) c.v[k + l] = a.v[l], s.v[k + l] = sign * b.v[l]; \
    } \
    T *first = qkv + (i64)t * 6 * heads * half + j; \
    int step = 32 / per; \
    for (int h = tid_x / per; h < 2 * heads; h += step) { \
      T *p = first + h * 2 * half; \
      Vec<W> a = wide(p), b = wide(p + half), x, y; \
      for (int k = 0; k < W; k++) { \
        x.v[k] = a.v[k] * c.v[k] - b.v[k] * s.v[k]; \
        y.v[k] = b.v[k] * c.v[k] + a.v[k] * s.v[k]; \
      } \
      store_vec<W>(p, x); \
      store_vec<W>(p + half, y); \
    } \
  }
ROPE(f32w, float)
ROPE(bf16w, bf16)

// ---- patches ----

// out[b,py,px, c,y,x] = images[b,c, py·p+y, px·p+x] for an even p and a bf16 out. A block turns a strip of up to `across`
// patches of one row of patches: it reads the images row by row and writes the patches, which lie together in out, as they
// follow each other. A word holds two neighbouring pixels; pad words between the patches of a strip keep the writes to
// shared memory free of conflicts.
DEVICE u32 pixels(const bf16 *p) { return *(const u32 *)p; }
DEVICE u32 pixels(const float *p) {
  float2v q = *(const float2v *)p;
  return pack_bf16(q.x, q.y);
}
template <class U> DEVICE void patchify_strip(bf16 *out, const U *images, int c, int h, int w, int p, int across, int pad) {
  extern SHARED __attribute__((aligned(16))) u32 strip[];
  int gh = h / p, gw = w / p, b = block_y / gh, py = block_y - b * gh, px0 = block_x * across;
  int count = min_(across, gw - px0), pairs = p / 2, words = c * p * pairs, pitch = words + pad;
  int line = count * pairs; // words of one row of pixels of the strip
  const U *corner = images + ((i64)b * c * h + py * p) * w + px0 * p;
  for (int y = tid_y; y < c * p; y += 2 * dim_y) {
    int z = y + dim_y;
    bool two = z < c * p;
    const U *row = corner + ((i64)(y / p) * h + y % p) * w, *next = two ? corner + ((i64)(z / p) * h + z % p) * w : row;
    for (int x = tid_x; x < line; x += dim_x) {
      u32 v = pixels(row + 2 * x), q = pixels(next + 2 * x);
      int patch = x / pairs, at = patch * pitch + x - patch * pairs;
      strip[at + y * pairs] = v;
      if (two) strip[at + z * pairs] = q;
    }
  }
  sync_block();
  u32 *to = (u32 *)(out + ((i64)block_y * gw + px0) * 2 * words);
  int threads = dim_x * dim_y;
  for (int patch = 0; patch < count; patch++)
    for (int k = tid_y * dim_x + tid_x; k < words; k += threads) to[patch * words + k] = strip[patch * pitch + k];
}
KERNEL THREADS(256) void patchify_bf16_f32w(bf16 *out, const float *images, int c, int h, int w, int p, int across, int pad) {
  patchify_strip(out, images, c, h, w, p, across, pad);
}
KERNEL THREADS(256) void patchify_bf16_bf16w(bf16 *out, const bf16 *images, int c, int h, int w, int p, int across, int pad) {
  patchify_strip(out, images, c, h, w, p, across, pad);
}

// ---- prototypes ----

// A thread has four logits in an access, since centres and partial sums are f32 and four of those are 16 bytes: with eight
// bf16 logits every access to them would leave out half of each sector. FLIGHT accesses are under way instead of one.
template <class T> inline constexpr int FLIGHT = 32 / (4 * sizeof(T)); // 32 bytes a thread

// Logits in base 2: (x - centre)·inv_temp·log₂e.
template <class T> DEVICE Vec<4> logits2(Vec<4> a, const float *centre, int c, float scale) {
  if (centre) {
    Vec<4> m = load_vec<4>(centre + c);
    for (int j = 0; j < 4; j++) a.v[j] -= m.v[j];
  }
  for (int j = 0; j < 4; j++) a.v[j] *= scale;
  return a;
}

// lse[r] = log Σ exp((x-centre)·inv_temp) with a running maximum, one rescaling for FLIGHT accesses. An access beyond the
// row repeats the thread's first and counts nothing.
template <class T>
DEVICE void row_lse_wide(float *scratch, float *lse, const T *x, const float *centre, float inv_temp, int rows, int cols) {
  constexpr int F = FLIGHT<T>;
  int r = block_x * dim_y + tid_y;
  bool live = r < rows;
  if (!live) r = rows - 1;
  const T *px = x + (i64)r * cols;
  float scale = inv_temp * LOG2E, m = -3.0e38f, s = 0; // finite, so that differences are never NaN
  int apart = dim_x * 4;
  for (int c = tid_x * 4; c < cols; c += F * apart) {
    Vec<4> a[F];
#pragma unroll
    for (int u = 0; u < F; u++) a[u] = load_vec<4>(px + (c + u * apart < cols ? c + u * apart : c));
    float top = m, sum[F];
#pragma unroll
    for (int u = 0; u < F; u++) {
      a[u] = logits2<T>(a[u], centre, c + u * apart < cols ? c + u * apart : c, scale);
      for (int j = 0; j < 4; j++) top = max_(top, a[u].v[j]);
    }
    s *= exp2_fast(m - top);
    m = top;
#pragma unroll
    for (int u = 0; u < F; u++) {
      sum[u] = 0;
      for (int j = 0; j < 4; j++) sum[u] += exp2_fast(a[u].v[j] - m);
      s += c + u * apart < cols ? sum[u] : 0.0f;
    }
  }
  float top = group_max(m, scratch);
  s = group_sum(s * exp2_fast(m - top), scratch);
  if (live && tid_x == 0) lse[r] = (top + log2_fast(s)) * LN2;
}

// partial[stripe, k] = Σ over the rows of the stripe of exp((x-centre)·inv_temp - lse), eight rows in flight.
template <class T>
DEVICE void col_sum_exp_wide(float *partial, const T *x, const float *centre, const float *lse, float inv_temp, int rows, int cols, int stripe) {
  constexpr int F = 2 * FLIGHT<T>;
  int c = (block_x * dim_x + tid_x) * 4;
  if (c >= cols) return;
  int lo = block_y * stripe, hi = min_(rows, lo + stripe);
  float scale = inv_temp * LOG2E;
  Vec<4> m = {{0, 0, 0, 0}}, s = m;
  if (centre) m = load_vec<4>(centre + c);
  for (int r = lo; r < hi; r += F) {
    Vec<4> a[F];
#pragma unroll
    for (int u = 0; u < F; u++) a[u] = load_vec<4>(x + (i64)min_(r + u, hi - 1) * cols + c);
#pragma unroll
    for (int u = 0; u < F; u++)
      if (r + u < hi) {
        float l = lse[r + u] * LOG2E;
        for (int j = 0; j < 4; j++) s.v[j] += exp2_fast(fma_(a[u].v[j] - m.v[j], scale, -l));
      }
  }
  store_vec<4>(partial + (i64)block_y * cols + c, s);
}

// The loss and the gradient of one student row over a stripe of columns, one warp a row: partial[stripe, j] is the part of
// loss[j]. The row is read once where it meets one or two teacher rows, and once more for each two beyond; ds may be s, so
// the gradient comes with the last pass.
template <class T>
DEVICE void cross_entropy_wide(float *partial, T *ds, const T *s, const float *slse, const T *t, const float *tlse, const float *centre,
                               float s_inv_temp, float t_inv_temp, const int *starts, const int *rows, const float *weights, int n, int cols,
                               int stripe, int pairs) {
  constexpr int F = FLIGHT<T>;
  int r = block_x * dim_y + tid_y;
  if (r >= n) return;
  int from = block_y * stripe, to = min_(cols, from + stripe);
  int lo = starts[r], hi = starts[r + 1];
  float ks = s_inv_temp * LOG2E, kt = t_inv_temp * LOG2E, sl = slse[r] * LOG2E, total = 0;
  for (int j = lo; j < hi; j++) total += weights[j];
  const T *ps = s + (i64)r * cols;
  int j = lo;
  do {
    bool gradient = ds && j + 2 >= hi;
    float acc[2] = {0, 0};
    for (int first = from + tid_x * 4; first < to; first += F * 128) {
      Vec<4> student[F];
#pragma unroll
      for (int u = 0; u < F; u++) student[u] = load_vec<4>(ps + (first + u * 128 < to ? first + u * 128 : first));
#pragma unroll
      for (int u = 0; u < F; u++) {
        int c = first + u * 128;
        if (c >= to) break;
        Vec<4> a = student[u], g = {{0, 0, 0, 0}};
        for (int k = 0; k < 4; k++) a.v[k] = fma_(a.v[k], ks, -sl); // log₂ of the student's probability
        if (gradient)
          for (int k = 0; k < 4; k++) g.v[k] = exp2_fast(a.v[k]) * total;
        for (int i = gradient ? lo : j; i < min_(hi, j + 2); i++) {
          int q = rows[i];
          float w = weights[i], tl = tlse[q] * LOG2E, sum = 0;
          Vec<4> b = logits2<T>(load_vec<4>(t + (i64)q * cols + c), centre, c, kt);
          for (int k = 0; k < 4; k++) {
            float p = exp2_fast(b.v[k] - tl);
            sum = fma_(p, -a.v[k], sum);
            g.v[k] = fma_(-w, p, g.v[k]);
          }
          if (i == j) acc[0] += sum;
          if (i == j + 1) acc[1] += sum;
        }
        if (gradient) {
          for (int k = 0; k < 4; k++) g.v[k] *= s_inv_temp;
          store_vec<4>(ds + (i64)r * cols + c, g);
        }
      }
    }
    for (int i = j; i < min_(hi, j + 2); i++) {
      float sum = warp_sum(i == j ? acc[0] : acc[1]);
      if (tid_x == 0) partial[(i64)block_y * pairs + i] = weights[i] * (sum * LN2);
    }
    j += 2;
  } while (j < hi);
}

#define PROTOTYPES(S, T) \
  KERNEL THREADS(256) void row_lse_##S(float *lse, const T *x, const float *centre, float inv_temp, int rows, int cols) { \
    SHARED static float scratch[33 * 8]; \
    row_lse_wide<T>(scratch, lse, x, centre, inv_temp, rows, cols); \
  } \
  KERNEL THREADS(128) void col_sum_exp_##S(float *partial, const T *x, const float *centre, const float *lse, float inv_temp, int rows, int cols, int stripe) { \
    col_sum_exp_wide<T>(partial, x, centre, lse, inv_temp, rows, cols, stripe); \
  } \
  KERNEL THREADS(256) void cross_entropy_##S(float *partial, T *ds, const T *s, const float *slse, const T *t, const float *tlse, const float *centre, \
                                             float s_inv_temp, float t_inv_temp, const int *starts, const int *rows, const float *weights, int n, int cols, \
                                             int stripe, int pairs) { \
    cross_entropy_wide<T>(partial, ds, s, slse, t, tlse, centre, s_inv_temp, t_inv_temp, starts, rows, weights, n, cols, stripe, pairs); \
  }
PROTOTYPES(f32w, float)
PROTOTYPES(bf16w, bf16)

// ---- columns ----

// Mean and sum of squared deviations of the columns of a stripe of rows, batch by batch: a batch of eight rows is read
// once and gone through twice in registers, and merged into what came before (Chan, Golub and LeVeque, 1979).
#define BATCH 8
template <class T> DEVICE void col_moments_wide(float *partial, const T *x, int rows, int cols, int stripe) {
  constexpr int W = WIDTH<T>;
  int c = (block_x * dim_x + tid_x) * W;
  if (c >= cols) return;
  int lo = block_y * stripe, hi = min_(rows, lo + stripe);
  float mean[W], m2[W];
  for (int j = 0; j < W; j++) mean[j] = m2[j] = 0;
  for (int r = lo; r < hi; r += BATCH) {
    uint4v q[BATCH];
    float s[W], d2[W];
    for (int j = 0; j < W; j++) s[j] = d2[j] = 0;
    int count = min_(BATCH, hi - r);
#pragma unroll
    for (int u = 0; u < BATCH; u++) {
      q[u] = uint4v{0, 0, 0, 0};
      if (u < count) q[u] = raw(x + (i64)(r + u) * cols + c);
    }
#pragma unroll
    for (int u = 0; u < BATCH; u++) {
      Vec<W> a = unpack<T>(q[u]);
      for (int j = 0; j < W; j++) s[j] += a.v[j];
    }
    float inv = 1.0f / (float)count;
    for (int j = 0; j < W; j++) s[j] *= inv;
#pragma unroll
    for (int u = 0; u < BATCH; u++)
      if (u < count) {
        Vec<W> a = unpack<T>(q[u]);
        for (int j = 0; j < W; j++) d2[j] = fma_(a.v[j] - s[j], a.v[j] - s[j], d2[j]);
      }
    float before = (float)(r - lo), share = (float)count / (float)(r - lo + count);
    for (int j = 0; j < W; j++) {
      float d = s[j] - mean[j];
      mean[j] = fma_(d, share, mean[j]);
      m2[j] += fma_(d * d, before * share, d2[j]);
    }
  }
  Vec<4> v;
  for (int k = 0; k < W; k += 4) {
    for (int j = 0; j < 4; j++) v.v[j] = mean[k + j];
    store_vec<4>(partial + (i64)block_y * 2 * cols + c + k, v);
    for (int j = 0; j < 4; j++) v.v[j] = m2[k + j];
    store_vec<4>(partial + ((i64)block_y * 2 + 1) * cols + c + k, v);
  }
}
KERNEL THREADS(128) void col_moments_f32w(float *partial, const float *x, int rows, int cols, int stripe) { col_moments_wide(partial, x, rows, cols, stripe); }
KERNEL THREADS(128) void col_moments_bf16w(float *partial, const bf16 *x, int rows, int cols, int stripe) { col_moments_wide(partial, x, rows, cols, stripe); }

// Merges the stripes of col_moments in their order; one thread a column.
KERNEL THREADS(256) void col_moments_merge(float *mean, float *variance, const float *partial, int rows, int cols, int stripe) {
  int c = block_x * dim_x + tid_x;
  if (c >= cols) return;
  float m = 0, m2 = 0;
  for (int lo = 0, i = 0; lo < rows; lo += stripe, i++) {
    int count = min_(stripe, rows - lo);
    float d = partial[(i64)i * 2 * cols + c] - m, share = (float)count / (float)(lo + count);
    m = fma_(d, share, m);
    m2 += fma_(d * d, (float)lo * share, partial[((i64)i * 2 + 1) * cols + c]);
  }
  mean[c] = m;
  variance[c] = m2 / (float)rows;
}
