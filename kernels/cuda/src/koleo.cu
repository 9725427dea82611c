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

// Block i writes loss[i] and coefficient[i] = d loss[i] / d (x_i - x_j), so that dx can be gathered: first its
// own pair, then, in order, the pairs that chose i as their neighbour.
#define KOLEO(S, T) \
  KERNEL THREADS(128) void koleo_loss_##S(float *loss, float *coefficient, const T *x, const int *index, float eps, float min_dist, float weight, int d) { \
    SHARED static float scratch[33]; \
    int i = block_x, j = index[i]; \
    float s = 0; \
    if (j >= 0) \
      for (int c = tid_x; c < d; c += dim_x) { \
        float v = load(x + (i64)i * d + c) - load(x + (i64)j * d + c) + eps; \
        s = fma_(v, v, s); \
      } \
    float dist = sqrt_(group_sum(s, scratch)); \
    if (tid_x == 0) { \
      bool use = j >= 0 && dist >= min_dist; \
      loss[i] = use ? -weight * log_(dist + eps) : 0.0f; \
      coefficient[i] = use && dist > 0 ? -weight / ((dist + eps) * dist) : 0.0f; \
    } \
  } \
  KERNEL THREADS(128) void koleo_grad_##S(T *dx, const float *coefficient, const T *x, const int *index, float eps, int n, int d) { \
    int i = block_x; \
    for (int c = tid_x; c < d; c += dim_x) { \
      float xi = load(x + (i64)i * d + c), g = 0; \
      int j = index[i]; \
      if (j >= 0) g = coefficient[i] * (xi - load(x + (i64)j * d + c) + eps); \
      for (int k = 0; k < n; k++) \
        if (index[k] == i) g -= coefficient[k] * (load(x + (i64)k * d + c) - xi + eps); \
      store(dx + (i64)i * d + c, g); \
    } \
  }
KOLEO(f32, float)
KOLEO(bf16, bf16)
