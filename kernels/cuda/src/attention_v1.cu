// Softmax attention over packed sequences, version 1: one block per (query or key, head), scores in shared
// memory. Any head size and both types; obviously right, not fast. It also writes the probability rows that
// attention maps are made of.
#include "prelude.h"

extern SHARED __attribute__((aligned(16))) float scores[];

// The sequence that holds token t: the last start at or before it.
DEVICE int find_sequence(const int *starts, int n, int t) {
  int lo = 0, hi = n;
  while (hi - lo > 1) {
    int mid = (lo + hi) / 2;
    if (starts[mid] <= t)
      lo = mid;
    else
      hi = mid;
  }
  // empty sequences share a start with the next one: lo is the last of them, which is the one that holds t
  return lo;
}

template <class T> DEVICE float dot(const T *a, const T *b, int d) {
  float s = 0;
  for (int i = 0; i < d; i++) s = fma_(load(a + i), load(b + i), s);
  return s;
}

// Fills scores with exp(scale·q·k - max) and returns the sum and the maximum.
template <class T>
DEVICE float softmax_scores(float *scratch, const T *q, const T *k, int stride, int len, int d, float scale, float &top) {
  float m = -INF;
  for (int j = tid_x; j < len; j += dim_x) {
    float s = scale * dot(q, k + (i64)j * stride, d);
    scores[j] = s;
    m = max_(m, s);
  }
  top = group_max(m, scratch);
  float sum = 0;
  for (int j = tid_x; j < len; j += dim_x) {
    float e = exp_(scores[j] - top);
    scores[j] = e;
    sum += e;
  }
  sum = group_sum(sum, scratch);
  sync_block();
  return sum;
}

#define ATTENTION(S, T) \
  KERNEL THREADS(128) void attention_v1_##S(T *out, float *lse, const T *qkv, const int *starts, int sequences, int tokens, int heads, int d, float scale) { \
    SHARED static float scratch[33]; \
    int t = block_x, h = block_y, s = find_sequence(starts, sequences, t); \
    int lo = starts[s], len = starts[s + 1] - lo, inner = heads * d, stride = 3 * inner; \
    const T *q = qkv + (i64)t * stride + h * d, *k = qkv + (i64)lo * stride + inner + h * d, *v = k + inner; \
    float top, sum = softmax_scores(scratch, q, k, stride, len, d, scale, top); \
    if (lse && tid_x == 0) lse[(i64)h * tokens + t] = top + log_(sum); \
    for (int c = tid_x; c < d; c += dim_x) { \
      float acc = 0; \
      for (int j = 0; j < len; j++) acc = fma_(scores[j], load(v + (i64)j * stride + c), acc); \
      store(out + (i64)t * inner + h * d + c, acc / sum); \
    } \
  } \
  /* delta[h,t] = Σ_c dout·out: one warp each */ \
  KERNEL THREADS(256) void attention_delta_##S(float *delta, const T *out, const T *dout, int tokens, int heads, int d) { \
    int t = block_x, h = tid_y + block_y * dim_y; \
    if (h >= heads) return; \
    i64 at = ((i64)t * heads + h) * d; \
    float s = 0; \
    for (int c = tid_x; c < d; c += 32) s = fma_(load(out + at + c), load(dout + at + c), s); \
    s = warp_sum(s); \
    if (tid_x == 0) delta[(i64)h * tokens + t] = s; \
  } \
  /* dq of one query: Σ_j ds_j·k_j, ds = p·(dout·v - delta)·scale */ \
  KERNEL THREADS(128) void attention_dq_v1_##S(T *dqkv, const T *qkv, const T *dout, const float *lse, const float *delta, const int *starts, int sequences, int tokens, int heads, int d, float scale) { \
    int t = block_x, h = block_y, s = find_sequence(starts, sequences, t); \
    int lo = starts[s], len = starts[s + 1] - lo, inner = heads * d, stride = 3 * inner; \
    const T *q = qkv + (i64)t * stride + h * d, *k = qkv + (i64)lo * stride + inner + h * d, *v = k + inner, *g = dout + (i64)t * inner + h * d; \
    float l = lse[(i64)h * tokens + t], dl = delta[(i64)h * tokens + t]; \
    for (int j = tid_x; j < len; j += dim_x) { \
      float p = exp_(scale * dot(q, k + (i64)j * stride, d) - l); \
      scores[j] = p * (dot(g, v + (i64)j * stride, d) - dl) * scale; \
    } \
    sync_block(); \
    for (int c = tid_x; c < d; c += dim_x) { \
      float acc = 0; \
      for (int j = 0; j < len; j++) acc = fma_(scores[j], load(k + (i64)j * stride + c), acc); \
      store(dqkv + (i64)t * stride + h * d + c, acc); \
    } \
  } \
  /* dk and dv of one key: Σ_i ds_i·q_i and Σ_i p_i·dout_i */ \
  KERNEL THREADS(128) void attention_dkv_v1_##S(T *dqkv, const T *qkv, const T *dout, const float *lse, const float *delta, const int *starts, int sequences, int tokens, int heads, int d, float scale) { \
    int t = block_x, h = block_y, s = find_sequence(starts, sequences, t); \
    int lo = starts[s], len = starts[s + 1] - lo, inner = heads * d, stride = 3 * inner; \
    const T *q = qkv + (i64)lo * stride + h * d, *k = qkv + (i64)t * stride + inner + h * d, *v = k + inner, *g = dout + (i64)lo * inner + h * d; \
    float *ds = scores + len; \
    for (int i = tid_x; i < len; i += dim_x) { \
      i64 at = (i64)h * tokens + lo + i; \
      float p = exp_(scale * dot(q + (i64)i * stride, k, d) - lse[at]); \
      scores[i] = p; \
      ds[i] = p * (dot(g + (i64)i * inner, v, d) - delta[at]) * scale; \
    } \
    sync_block(); \
    for (int c = tid_x; c < d; c += dim_x) { \
      float dk = 0, dv = 0; \
      for (int i = 0; i < len; i++) { \
        dk = fma_(ds[i], load(q + (i64)i * stride + c), dk); \
        dv = fma_(scores[i], load(g + (i64)i * inner + c), dv); \
      } \
      store(dqkv + (i64)t * stride + inner + h * d + c, dk); \
      store(dqkv + (i64)t * stride + 2 * inner + h * d + c, dv); \
    } \
  } \
  /* the softmax row of chosen queries, padded with zeros to max_len */ \
  KERNEL THREADS(128) void attention_rows_##S(Any probs, const int *queries, const T *qkv, const int *starts, int sequences, int max_len, int heads, int d, float scale) { \
    SHARED static float scratch[33]; \
    int t = queries[block_x], h = block_y, s = find_sequence(starts, sequences, t); \
    int lo = starts[s], len = starts[s + 1] - lo, inner = heads * d, stride = 3 * inner; \
    const T *q = qkv + (i64)t * stride + h * d, *k = qkv + (i64)lo * stride + inner + h * d; \
    float top, sum = softmax_scores(scratch, q, k, stride, len, d, scale, top); \
    for (int j = tid_x; j < max_len; j += dim_x) put(probs, ((i64)block_x * heads + h) * max_len + j, j < len ? scores[j] / sum : 0.0f); \
  }
ATTENTION(f32, float)
ATTENTION(bf16, bf16)
