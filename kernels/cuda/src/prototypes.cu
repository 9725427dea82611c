// The student/teacher losses over the prototypes: rows of up to 65,536 logits. Every pass reads a row once; the
// row statistics (lse) are f32. Column sums go through partial sums per stripe of rows, added up in order by
// col_reduce.
#include "prelude.h"

#define SCRATCH SHARED static float scratch[33 * 8]

template <int N, class F> DEVICE void over(int cols, F f) {
  for (int c = tid_x * N; c < cols; c += dim_x * N) f(c);
}

template <class T, int N> DEVICE Vec<N> logits(const T *x, const float *centre, int c, float inv_temp) {
  Vec<N> a = load_vec<N>(x + c);
  if (centre) {
    Vec<N> m = load_vec<N>(centre + c);
    for (int j = 0; j < N; j++) a.v[j] -= m.v[j];
  }
  for (int j = 0; j < N; j++) a.v[j] *= inv_temp;
  return a;
}

// lse[r] = log Σ exp((x-centre)·inv_temp), in one pass: each thread keeps a running maximum and the sum of
// exponentials relative to it.
template <class T, int N>
DEVICE void row_lse(float *scratch, float *lse, const T *x, const float *centre, float inv_temp, int rows, int cols) {
  int r = block_x * dim_y + tid_y;
  bool live = r < rows;
  if (!live) r = rows - 1;
  const T *px = x + (i64)r * cols;
  float m = -3.0e38f, s = 0; // finite, so that differences are never NaN
  over<N>(cols, [&](int c) {
    Vec<N> a = logits<T, N>(px, centre, c, inv_temp);
    float top = m;
    for (int j = 0; j < N; j++) top = max_(top, a.v[j]);
    s *= exp_(m - top); // without a branch: the warp stays together and its loads whole
    m = top;
    for (int j = 0; j < N; j++) s += exp_(a.v[j] - m);
  });
  float top = group_max(m, scratch);
  s = group_sum(s * exp_(m - top), scratch);
  if (live && tid_x == 0) lse[r] = top + log_(s);
}

// partial[stripe, k] = Σ over the rows of the stripe of exp((x-centre)·inv_temp - lse)
template <class T, int N>
DEVICE void col_sum_exp(float *partial, const T *x, const float *centre, const float *lse, float inv_temp, int rows, int cols, int stripe) {
  int c = (block_x * dim_x + tid_x) * N;
  if (c >= cols) return;
  int lo = block_y * stripe, hi = min_(rows, lo + stripe);
  float s[N];
  for (int j = 0; j < N; j++) s[j] = 0;
  for (int r = lo; r < hi; r++) {
    Vec<N> a = logits<T, N>(x + (i64)r * cols, centre, c, inv_temp);
    for (int j = 0; j < N; j++) s[j] += exp_(a.v[j] - lse[r]);
  }
  Vec<N> v;
  for (int j = 0; j < N; j++) v.v[j] = s[j];
  store_vec<N>(partial + (i64)block_y * cols + c, v);
}

template <class T, int N>
DEVICE void softmax_rows(T *p, const T *x, const float *centre, const float *lse, float inv_temp, int cols, int n) {
  int i = (block_x * dim_x + tid_x) * N;
  if (i >= n) return;
  int r = i / cols, c = i - r * cols;
  Vec<N> a = logits<T, N>(x + (i64)r * cols, centre, c, inv_temp);
  float l = lse[r];
  for (int j = 0; j < N; j++) a.v[j] = exp_(a.v[j] - l);
  store_vec<N>(p + i, a);
}

// One group per student row r: for its pairs j (starts[r] to starts[r+1], teacher row rows[j], weight
// weights[j]) the loss[j] and the gradient ds[r]. The student row is read once for each teacher row it meets:
// loss[j] = w·Σ_k pt·(slse - s), ds = (ps·Σ_j w - Σ_j w·pt)·s_inv_temp.
template <class T, int N>
DEVICE void cross_entropy(float *scratch, float *loss, T *ds, const T *s, const float *slse, const T *t, const float *tlse, const float *centre,
                          float s_inv_temp, float t_inv_temp, const int *starts, const int *rows, const float *weights, int n, int cols) {
  int r = block_x * dim_y + tid_y;
  bool live = r < n;
  if (!live) r = n - 1;
  const T *ps = s + (i64)r * cols;
  int lo = starts[r], hi = live ? starts[r + 1] : lo; // idle groups read no row: ds may be s
  float sl = slse[r];
  // All groups of a block make the same number of rounds, so that they meet at the barriers.
  int rounds = hi - lo;
  if (dim_y > 1) {
    int first = block_x * dim_y;
    for (int y = 0; y < dim_y; y++) {
      int q = min_(first + y, n - 1);
      rounds = max_(rounds, starts[q + 1] - starts[q]);
    }
  }
  for (int j = 0; j < rounds; j++) {
    float acc = 0;
    if (lo + j < hi) {
      int q = rows[lo + j];
      const T *pt = t + (i64)q * cols;
      float tl = tlse[q];
      over<N>(cols, [&](int c) {
        Vec<N> a = load_vec<N>(ps + c), b = logits<T, N>(pt, centre, c, t_inv_temp);
        for (int k = 0; k < N; k++) acc = fma_(exp_(b.v[k] - tl), sl - a.v[k] * s_inv_temp, acc);
      });
    }
    acc = group_sum(acc, scratch);
    if (live && tid_x == 0 && lo + j < hi) loss[lo + j] = weights[lo + j] * acc;
  }
  if (!ds || !live) return;
  float total = 0;
  for (int j = lo; j < hi; j++) total += weights[j];
  T *pd = ds + (i64)r * cols;
  over<N>(cols, [&](int c) {
    Vec<N> a = load_vec<N>(ps + c);
    for (int k = 0; k < N; k++) a.v[k] = exp_(a.v[k] * s_inv_temp - sl) * total;
    for (int j = lo; j < hi; j++) {
      int q = rows[j];
      Vec<N> b = logits<T, N>(t + (i64)q * cols, centre, c, t_inv_temp);
      float w = weights[j], tl = tlse[q];
      for (int k = 0; k < N; k++) a.v[k] = fma_(-w, exp_(b.v[k] - tl), a.v[k]);
    }
    for (int k = 0; k < N; k++) a.v[k] *= s_inv_temp;
    store_vec<N>(pd + c, a);
  });
}

#define PROTOTYPES(S, T, N) \
  KERNEL THREADS(256) void row_lse_##S(float *lse, const T *x, const float *centre, float inv_temp, int rows, int cols) { \
    SCRATCH; \
    row_lse<T, N>(scratch, lse, x, centre, inv_temp, rows, cols); \
  } \
  KERNEL THREADS(128) void col_sum_exp_##S(float *partial, const T *x, const float *centre, const float *lse, float inv_temp, int rows, int cols, int stripe) { \
    col_sum_exp<T, N>(partial, x, centre, lse, inv_temp, rows, cols, stripe); \
  } \
  KERNEL THREADS(256) void softmax_rows_##S(T *p, const T *x, const float *centre, const float *lse, float inv_temp, int cols, int n) { \
    softmax_rows<T, N>(p, x, centre, lse, inv_temp, cols, n); \
  } \
  KERNEL THREADS(256) void cross_entropy_##S(float *loss, T *ds, const T *s, const float *slse, const T *t, const float *tlse, const float *centre, \
                                             float s_inv_temp, float t_inv_temp, const int *starts, const int *rows, const float *weights, int n, int cols) { \
    SCRATCH; \
    cross_entropy<T, N>(scratch, loss, ds, s, slse, t, tlse, centre, s_inv_temp, t_inv_temp, starts, rows, weights, n, cols); \
  }
FOR_TYPES(PROTOTYPES)

// centre[k] += log(max(colsum[k], tiny)·scale)/inv_temp: the prototype step of Sinkhorn-Knopp.
// The logarithms are added: the product may be subnormal, which lg2.approx.ftz takes for zero. A sum that is infinite
// stays so.
KERNEL THREADS(256) void sinkhorn_centre(float *centre, const float *colsum, float scale, float inv_temp, int n) {
  int i = block_x * dim_x + tid_x;
  if (i >= n) return;
  float sum = max_(colsum[i], 1.1754944e-38f);
  float l = is_finite(sum) ? log2_split(sum) + log2_split(scale) : sum;
  centre[i] += l * LN2 / inv_temp;
}
