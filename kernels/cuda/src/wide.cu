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
//	col_moments     7 %: two passes, a thread for 4 columns    one pass, eight warps share the rows of a column
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
#define LINES 4 // in flight
template <class U> DEVICE void patchify_strip(bf16 *out, const U *images, int c, int h, int w, int p, int across, int pad) {
  extern SHARED __attribute__((aligned(16))) u32 strip[];
  int gh = h / p, gw = w / p, b = block_y / gh, py = block_y - b * gh, px0 = block_x * across;
  int count = min_(across, gw - px0), pairs = p / 2, words = c * p * pairs, pitch = words + pad;
  int line = count * pairs; // words of one row of pixels of the strip
  const U *corner = images + ((i64)b * c * h + py * p) * w + px0 * p;
  for (int y = tid_y; y < c * p; y += LINES * dim_y) {
    const U *row[LINES]; // lines of pixels; one beyond the strip repeats the first
#pragma unroll
    for (int u = 0; u < LINES; u++) {
      int z = y + u * dim_y < c * p ? y + u * dim_y : y, ch = z / p;
      row[u] = corner + (ch * h + z - ch * p) * w;
    }
    for (int x = tid_x; x < line; x += dim_x) {
      u32 v[LINES];
#pragma unroll
      for (int u = 0; u < LINES; u++) v[u] = pixels(row[u] + 2 * x);
      int patch = x / pairs, at = patch * pitch + x - patch * pairs;
#pragma unroll
      for (int u = 0; u < LINES; u++)
        if (y + u * dim_y < c * p) strip[at + (y + u * dim_y) * pairs] = v[u];
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

// out[k] = Σ over the rows of exp((x-centre)·inv_temp - lse). A block has 128 columns; each of its eight warps sums every
// eighth group of rows, and the warps' sums are added in order.
template <class T>
DEVICE void col_sum_exp_wide(float4v *sums, float *out, const T *x, const float *centre, const float *lse, float inv_temp, int rows, int cols) {
  constexpr int F = 2 * FLIGHT<T>;
  int c = (block_x * 32 + tid_x) * 4;
  bool live = c < cols;
  float scale = inv_temp * LOG2E;
  Vec<4> m = {{0, 0, 0, 0}}, s = m;
  if (live) {
    if (centre) m = load_vec<4>(centre + c);
    for (int r = tid_y * F; r < rows; r += 8 * F) {
      Vec<4> a[F];
#pragma unroll
      for (int u = 0; u < F; u++) a[u] = load_vec<4>(x + (i64)min_(r + u, rows - 1) * cols + c);
#pragma unroll
      for (int u = 0; u < F; u++)
        if (r + u < rows) {
          float l = lse[r + u] * LOG2E;
          for (int j = 0; j < 4; j++) s.v[j] += exp2_fast(fma_(a[u].v[j] - m.v[j], scale, -l));
        }
    }
  }
  sums[tid_y * 32 + tid_x] = float4v{s.v[0], s.v[1], s.v[2], s.v[3]};
  sync_block();
  if (tid_y > 0 || !live) return;
  for (int y = 1; y < 8; y++) {
    float4v q = sums[y * 32 + tid_x];
    for (int j = 0; j < 4; j++) s.v[j] += q[j];
  }
  store_vec<4>(out + c, s);
}

// Four elements as they lie in memory; unpacked only when they are used, they take half the registers until then.
template <class T> struct FourOf { typedef float4v type; };
template <> struct FourOf<bf16> { typedef uint2v type; };
template <class T> using Four = typename FourOf<T>::type;
DEVICE Vec<4> four(float4v q) { return {{q.x, q.y, q.z, q.w}}; }
DEVICE Vec<4> four(uint2v q) {
  asm volatile("" : "+r"(q.x), "+r"(q.y));
  return {{bits_f32(q.x << 16), bits_f32(q.x & 0xffff0000u), bits_f32(q.y << 16), bits_f32(q.y & 0xffff0000u)}};
}

template <int N> struct Count { static constexpr int value = N; };

// Log₂ of the teacher's probability of four prototypes; shift is the centre times -scale.
DEVICE Vec<4> teacher2(Vec<4> t, const Vec<4> &shift, float scale, float lse) {
  for (int k = 0; k < 4; k++) t.v[k] = fma_(t.v[k], scale, shift.v[k] - lse);
  return t;
}

// The loss and the gradient of one student row over a stripe of columns, one warp a row: partial[stripe, j] is the part of
// loss[j]. The row is read once where it meets one or two teacher rows, and once more for each two beyond; ds may be s, so
// the gradient comes with the last pass.
template <class T>
DEVICE void cross_entropy_wide(float *partial, T *ds, const T *s, const float *slse, const T *t, const float *tlse, const float *centre,
                               float s_inv_temp, float t_inv_temp, const int *starts, const int *rows, const float *weights, int n, int cols,
                               int stripe, int pairs) {
  int r = block_x * dim_y + tid_y;
  if (r >= n) return;
  int from = block_y * stripe, to = min_(cols, from + stripe);
  int lo = starts[r], hi = starts[r + 1];
  float ks = s_inv_temp * LOG2E, kt = t_inv_temp * LOG2E, less = slse[r] * -LOG2E, total = 0;
  for (int j = lo; j < hi; j++) total += weights[j];
  total *= s_inv_temp;
  const T *ps = s + (i64)r * cols;
  T *pd = ds + (i64)r * cols;
  int j = lo;
  do {
    bool gradient = ds && j + 2 >= hi;
    const T *pt[2]; // the two teacher rows of this pass; one that is missing repeats the student and weighs nothing
    float w[2], tl[2], acc[2] = {0, 0};
#pragma unroll
    for (int i = 0; i < 2; i++) {
      bool there = j + i < hi;
      int q = there ? rows[j + i] : 0;
      pt[i] = there ? t + (i64)q * cols : ps;
      w[i] = there ? weights[j + i] * -s_inv_temp : 0.0f;
      tl[i] = there ? tlse[q] * LOG2E : 3.0e38f; // probability 0
    }
    // U accesses, 128 columns apart.
    auto visit = [&](int c, auto U) {
      constexpr int n = decltype(U)::value;
      Four<T> as[n], bs[n][2];
      Vec<4> m[n];
#pragma unroll
      for (int u = 0; u < n; u++) {
        as[u] = *(const Four<T> *)(ps + c + u * 128);
        bs[u][0] = *(const Four<T> *)(pt[0] + c + u * 128);
        bs[u][1] = *(const Four<T> *)(pt[1] + c + u * 128);
        m[u] = Vec<4>{{0, 0, 0, 0}};
        if (centre) m[u] = load_vec<4>(centre + c + u * 128);
      }
#pragma unroll
      for (int u = 0; u < n; u++) {
        Vec<4> g, a = four(as[u]);
        for (int k = 0; k < 4; k++) {
          m[u].v[k] *= -kt;
          a.v[k] = fma_(a.v[k], ks, less); // log₂ of the student's probability
          g.v[k] = exp2_fast(a.v[k]) * total;
        }
#pragma unroll
        for (int i = 0; i < 2; i++) {
          Vec<4> p = teacher2(four(bs[u][i]), m[u], kt, tl[i]);
          for (int k = 0; k < 4; k++) {
            float q = exp2_fast(p.v[k]);
            acc[i] = fma_(q, a.v[k], acc[i]);
            g.v[k] = fma_(w[i], q, g.v[k]);
          }
        }
        if (!gradient) continue;
        for (int i = lo; i < j; i++) { // those of earlier passes
          int q = rows[i];
          Vec<4> p = teacher2(load_vec<4>(t + (i64)q * cols + c + u * 128), m[u], kt, tlse[q] * LOG2E);
          for (int k = 0; k < 4; k++) g.v[k] = fma_(weights[i] * -s_inv_temp, exp2_fast(p.v[k]), g.v[k]);
        }
        store_vec<4>(pd + c + u * 128, g);
      }
    };
    int c = from + tid_x * 4;
    for (; c + 128 < to; c += 256) visit(c, Count<2>());
    if (c < to) visit(c, Count<1>());
#pragma unroll
    for (int i = 0; i < 2; i++) {
      float sum = warp_sum(acc[i]);
      if (tid_x == 0 && j + i < hi) partial[(i64)block_y * pairs + j + i] = weights[j + i] * (sum * -LN2);
    }
    j += 2;
  } while (j < hi);
}

#define PROTOTYPES(S, T, BLOCKS) \
  KERNEL THREADS(512) void row_lse_##S(float *lse, const T *x, const float *centre, float inv_temp, int rows, int cols) { \
    SHARED static float scratch[33 * 8]; \
    row_lse_wide<T>(scratch, lse, x, centre, inv_temp, rows, cols); \
  } \
  KERNEL THREADS(256) void col_sum_exp_##S(float *out, const T *x, const float *centre, const float *lse, float inv_temp, int rows, int cols) { \
    SHARED static float4v sums[256]; \
    col_sum_exp_wide<T>(sums, out, x, centre, lse, inv_temp, rows, cols); \
  } \
  KERNEL THREADS_BLOCKS(256, BLOCKS) void cross_entropy_##S(float *partial, T *ds, const T *s, const float *slse, const T *t, const float *tlse, const float *centre, \
                                             float s_inv_temp, float t_inv_temp, const int *starts, const int *rows, const float *weights, int n, int cols, \
                                             int stripe, int pairs) { \
    cross_entropy_wide<T>(partial, ds, s, slse, t, tlse, centre, s_inv_temp, t_inv_temp, starts, rows, weights, n, cols, stripe, pairs); \
  }
PROTOTYPES(f32w, float, 2)
PROTOTYPES(bf16w, bf16, 4)

// ---- columns ----

// Mean and variance of the columns. A block has 32 accesses of columns; each of its eight warps goes over every eighth batch
// of rows, and the warps' results are merged in order. A batch of eight rows is read once and gone through twice in
// registers (Chan, Golub and LeVeque, 1979, for the merging).
#define BATCH 8
struct Moments { float mean, m2; };
DEVICE Moments merge(Moments a, float na, Moments b, float nb) {
  float d = b.mean - a.mean, share = nb / (na + nb);
  return {fma_(d, share, a.mean), a.m2 + fma_(d * d, na * share, b.m2)};
}
template <class T> DEVICE void col_moments_wide(float *means, float *m2s, float *mean, float *variance, const T *x, int rows, int cols) {
  constexpr int W = WIDTH<T>;
  int c = (block_x * 32 + tid_x) * W;
  bool live = c < cols;
  Moments all[W];
  for (int j = 0; j < W; j++) all[j] = {0, 0};
  int seen = 0;
  if (live)
    for (int r = tid_y * BATCH; r < rows; r += 8 * BATCH) {
      uint4v q[BATCH];
      float s[W], d2[W];
      for (int j = 0; j < W; j++) s[j] = d2[j] = 0;
      int count = min_(BATCH, rows - r);
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
      for (int j = 0; j < W; j++) all[j] = merge(all[j], (float)seen, {s[j], d2[j]}, (float)count);
      seen += count;
    }
  // Column by column, so that neighbouring lanes write to neighbouring banks.
  for (int j = 0; j < W; j++) means[(tid_y * W + j) * 32 + tid_x] = all[j].mean, m2s[(tid_y * W + j) * 32 + tid_x] = all[j].m2;
  sync_block();
  if (tid_y > 0 || !live) return;
  for (int y = 1; y < 8; y++) {
    int groups = (rows + BATCH - 1) / BATCH, mine = (groups - y + 7) / 8; // batches of warp y
    int count = mine * BATCH - (mine > 0 && (groups - 1) % 8 == y ? groups * BATCH - rows : 0);
    if (count <= 0) break;
    for (int j = 0; j < W; j++) all[j] = merge(all[j], (float)seen, {means[(y * W + j) * 32 + tid_x], m2s[(y * W + j) * 32 + tid_x]}, (float)count);
    seen += count;
  }
  Vec<4> v;
  for (int k = 0; k < W; k += 4) {
    for (int j = 0; j < 4; j++) v.v[j] = all[k + j].mean;
    store_vec<4>(mean + c + k, v);
    for (int j = 0; j < 4; j++) v.v[j] = all[k + j].m2 / (float)rows;
    store_vec<4>(variance + c + k, v);
  }
}
#define COL_MOMENTS(S, T) \
  KERNEL THREADS(256) void col_moments_##S(float *mean, float *variance, const T *x, int rows, int cols) { \
    SHARED static float means[8 * 32 * WIDTH<T>]; \
    SHARED static float m2s[8 * 32 * WIDTH<T>]; \
    col_moments_wide<T>(means, m2s, mean, variance, x, rows, cols); \
  }
COL_MOMENTS(f32w, float)
COL_MOMENTS(bf16w, bf16)
