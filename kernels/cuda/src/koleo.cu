// The Kozachenko-Leonenko loss on the nearest neighbours of a batch: small matrices, one block row per sample.
#include "prelude.h"

#define NEAREST(S, T) \
  KERNEL THREADS(32) void nearest_rows_##S(int *index, const T *dots, int n) { \
    int i = block_x, best = -1; \
    float top = -INF; \
    for (int j = tid_x; j < n; j += 32) { \
      float v = load(dots + (i64)i * n + j); \
      if (j != i && (best < 0 || v > top)) { \
        top = v; \
        best = j; \
      } \
    } \
    for (int o = 16; o > 0; o >>= 1) { \
      float v = shuffle_xor(top, o); \
      int j = shuffle_xor(best, o); \
      if (j >= 0 && (best < 0 || v > top || (v == top && j < best))) { \
        top = v; \
        best = j; \
      } \
    } \
    if (tid_x == 0) index[i] = best; \
  }
NEAREST(f32, float)
NEAREST(bf16, bf16)

// The distance of rows a and b, eps added to every difference: the same bits whichever block computes it.
template <class T> DEVICE float pair_distance(float *scratch, const T *a, const T *b, float eps, int d) {
  float s = 0;
  for (int c = tid_x; c < d; c += dim_x) {
    float v = load(a + c) - load(b + c) + eps;
    s = fma_(v, v, s);
  }
  return sqrt_(group_sum(s, scratch));
}

// The gradient of a pair's loss by its difference is slope times the difference; duplicates have none.
DEVICE float slope(float dist, float eps, float min_dist, float weight) {
  return dist >= min_dist && dist > 0 ? -weight / ((dist + eps) * dist) : 0.0f;
}

// Block i writes loss[i] and row i of dx: the gradient of its own pair and, in order, those of the pairs that chose i as
// their neighbour, whose distances it computes again (one more for each row, on average). A thread holds HELD columns
// of dx; wider rows take another turn.
//
// FLOPs about 10·n·d; bytes: x and dx once (0.1 MB for 64 rows of 768 in bf16: the launch is the floor, and there is one).
#define HELD 4
template <class T>
DEVICE void koleo(float *scratch, float *loss, T *dx, const T *x, const int *index, float eps, float min_dist, float weight, int n, int d) {
  int i = block_x, neighbour = index[i];
  const T *own = x + (i64)i * d, *other = x + (i64)max_(neighbour, 0) * d;
  float f = 0, l = 0;
  if (neighbour >= 0) {
    float dist = pair_distance(scratch, own, other, eps, d);
    f = slope(dist, eps, min_dist, weight);
    if (dist >= min_dist) l = -weight * log_(dist + eps);
  }
  if (tid_x == 0) loss[i] = l;
  for (int first = tid_x; first - tid_x < d; first += HELD * dim_x) {
    float g[HELD];
    for (int e = 0; e < HELD; e++) {
      int c = first + e * dim_x;
      g[e] = f != 0 && c < d ? f * (load(own + c) - load(other + c) + eps) : 0.0f;
    }
    for (int k0 = 0; k0 < n; k0 += 32) {
      int k = k0 + (tid_x & 31);
      for (u32 chose = ballot(k < n && index[k] == i); chose; chose &= chose - 1) {
        const T *row = x + (i64)(k0 + __builtin_ctz(chose)) * d;
        float back = slope(pair_distance(scratch, row, own, eps, d), eps, min_dist, weight);
        if (back == 0) continue;
        for (int e = 0; e < HELD; e++) {
          int c = first + e * dim_x;
          if (c < d) g[e] -= back * (load(row + c) - load(own + c) + eps);
        }
      }
    }
    for (int e = 0; e < HELD; e++)
      if (first + e * dim_x < d) store(dx + (i64)i * d + first + e * dim_x, g[e]);
  }
}
#define KOLEO(S, T) \
  KERNEL THREADS_BLOCKS(256, 4) void koleo_##S(float *loss, T *dx, const T *x, const int *index, float eps, float min_dist, float weight, int n, int d) { \
    SHARED static float scratch[33]; \
    koleo(scratch, loss, dx, x, index, eps, min_dist, weight, n, d); \
  }
KOLEO(f32, float)
KOLEO(bf16, bf16)
