// Softmax attention over packed sequences on the tensor cores, bf16, head sizes 32, 64, 96 and 128.
//
// version  idea                                                                          used for
// v1       one block per query and head (attention_v1.cu)                                other sizes, f32
// v2       64 queries a block, 16 a warp; keys and values stream through shared memory   bf16
//          in tiles, two in flight; online softmax in registers; the backward pass
//          recomputes the scores, once for dk and dv (a block per key tile) and once for
//          dq, so that nothing is added atomically and every sum has one order
//
// FLOPs forward 4·len²·d a head, backward 14·len²·d (7 products); bytes 4 times the packed qkv at least.
#include "tensorcore.h"

#define ROWS 64 // queries (or keys) of a block

// A tile in shared memory: ROWS rows of D bf16 in 16-byte chunks. The chunk is exchanged by bits of the row so
// that eight rows at one logical chunk lie in eight different bank groups.
template <int D> DEVICE u32 chunk_at(int row, int c) {
  int x = D % 64 == 0 ? row & 7 : (row >> 1) & 3;
  return (u32)(row * D * 2 + ((c ^ x) << 4));
}

// Asks for R rows of one head, rows first … of which limit are there; the others become zero.
template <int D, int R> DEVICE void load_rows(u32 to, const bf16 *p, int stride, int first, int limit) {
#pragma unroll
  for (int e = tid_x; e < R * D / 8; e += 128) {
    int row = e / (D / 8), c = e % (D / 8);
    bool there = first + row < limit;
    copy_async(to + chunk_at<D>(row, c), there ? p + (i64)(first + row) * stride + c * 8 : p, there ? 16 : 0);
  }
}

// A fragments of 16 rows from row r0 on, columns 16·k … of a tile.
template <int D> DEVICE void fragment_a(u32 *r, u32 tile, int r0, int k) {
  int lane = tid_x & 31;
  ldmatrix4(r, tile + chunk_at<D>(r0 + (lane & 15), 2 * k + (lane >> 4)));
}
// B fragments of two 8-column tiles whose columns are the tile's rows n0 … n0+15, k the tile's columns.
template <int D> DEVICE void fragment_b_rows(u32 *r, u32 tile, int n0, int k) {
  int lane = tid_x & 31;
  ldmatrix4(r, tile + chunk_at<D>(n0 + (lane & 7) + ((lane >> 4) << 3), 2 * k + ((lane >> 3) & 1)));
}
// B fragments of two 8-column tiles whose k are the tile's rows k0 … k0+15, columns 16·n ….
template <int D> DEVICE void fragment_b_cols(u32 *r, u32 tile, int k0, int n) {
  int lane = tid_x & 31;
  ldmatrix4_trans(r, tile + chunk_at<D>(k0 + (lane & 15), 2 * n + (lane >> 4)));
}

// s[16 x C] = a·bᵀ: a the given fragments over D, b the first C rows of a tile.
template <int D, int C> DEVICE void product_rows(float (*s)[4], const u32 (*a)[4], u32 tile) {
#pragma unroll
  for (int j = 0; j < C / 8; j++)
#pragma unroll
    for (int e = 0; e < 4; e++) s[j][e] = 0;
#pragma unroll
  for (int k = 0; k < D / 16; k++)
#pragma unroll
    for (int j = 0; j < C / 8; j += 2) {
      u32 b[4];
      fragment_b_rows<D>(b, tile, j * 8, k);
      mma(s[j], a[k], b);
      mma(s[j + 1], a[k], b + 2);
    }
}

// The same with the 16 rows from r0 on of another tile as a, its fragments loaded when they are needed: the
// backward passes have no registers to keep them in.
template <int D, int C> DEVICE void product_tiles(float (*s)[4], u32 rows, int r0, u32 tile) {
#pragma unroll
  for (int j = 0; j < C / 8; j++)
#pragma unroll
    for (int e = 0; e < 4; e++) s[j][e] = 0;
#pragma unroll
  for (int k = 0; k < D / 16; k++) {
    u32 a[4];
    fragment_a<D>(a, rows, r0, k);
#pragma unroll
    for (int j = 0; j < C / 8; j += 2) {
      u32 b[4];
      fragment_b_rows<D>(b, tile, j * 8, k);
      mma(s[j], a, b);
      mma(s[j + 1], a, b + 2);
    }
  }
}

// o[16 x D] += p[16 x C]·tile, p in accumulator layout, rounded to bf16.
template <int D, int C> DEVICE void product_cols(float (*o)[4], const float (*p)[4], u32 tile) {
#pragma unroll
  for (int k = 0; k < C / 16; k++) {
    u32 a[4] = {pack_bf16(p[2 * k][0], p[2 * k][1]), pack_bf16(p[2 * k][2], p[2 * k][3]), pack_bf16(p[2 * k + 1][0], p[2 * k + 1][1]),
                pack_bf16(p[2 * k + 1][2], p[2 * k + 1][3])};
#pragma unroll
    for (int n = 0; n < D / 16; n++) {
      u32 b[4];
      fragment_b_cols<D>(b, tile, k * 16, n);
      mma(o[2 * n], a, b);
      mma(o[2 * n + 1], a, b + 2);
    }
  }
}

// Writes a warp's 16 x D result through its rows of a shared tile: whole 16-byte chunks of memory. Row r of the
// warp is row first+r of out, as long as that is below limit.
template <int D> DEVICE void write_rows(char *tile, const float (*o)[4], float f0, float f1, bf16 *out, int stride, int first, int limit) {
  int lane = tid_x & 31, r0 = (tid_x >> 5) * 16, g = lane >> 2, t = lane & 3;
#pragma unroll
  for (int j = 0; j < D / 8; j++) {
    *(u32 *)(tile + chunk_at<D>(r0 + g, j) + t * 4) = pack_bf16(o[j][0] * f0, o[j][1] * f0);
    *(u32 *)(tile + chunk_at<D>(r0 + g + 8, j) + t * 4) = pack_bf16(o[j][2] * f1, o[j][3] * f1);
  }
  sync_warp();
#pragma unroll
  for (int e = lane; e < 16 * D / 8; e += 32) {
    int row = e / (D / 8), c = e % (D / 8);
    if (first + row < limit) *(uint4v *)(out + (i64)(first + row) * stride + c * 8) = *(const uint4v *)(tile + chunk_at<D>(r0 + row, c));
  }
}

DEVICE float quad_max(float v) {
  v = max_(v, shuffle_xor(v, 1));
  return max_(v, shuffle_xor(v, 2));
}
DEVICE float quad_sum(float v) {
  v += shuffle_xor(v, 1);
  return v + shuffle_xor(v, 2);
}

extern SHARED __attribute__((aligned(128))) char tiles[];

// Shared memory: q, then two stages of k and v.
template <int D> DEVICE void attention_v2(bf16 *out, float *lse, const bf16 *qkv, const int *starts, int tokens, int heads, float scale) {
  const int size = ROWS * D * 2;
  int s = block_z, h = block_y, lo = starts[s], len = starts[s + 1] - lo, q0 = block_x * ROWS;
  if (q0 >= len) return;
  int inner = heads * D, stride = 3 * inner;
  const bf16 *q = qkv + (i64)lo * stride + h * D, *k = q + inner, *v = k + inner;
  u32 tq = shared_address(tiles), tk = tq + size, tv = tk + 2 * size;
  int steps = (len + ROWS - 1) / ROWS;

  auto ask = [&](int i) {
    if (i < steps) {
      load_rows<D, ROWS>(tk + (i & 1) * size, k, stride, i * ROWS, len);
      load_rows<D, ROWS>(tv + (i & 1) * size, v, stride, i * ROWS, len);
    }
    copy_commit();
  };
  load_rows<D, ROWS>(tq, q, stride, q0, len);
  ask(0);

  int lane = tid_x & 31, r0 = (tid_x >> 5) * 16, t = lane & 3;
  float o[D / 8][4], m0 = -INF, m1 = -INF, l0 = 0, l1 = 0, f = scale * LOG2E;
#pragma unroll
  for (int j = 0; j < D / 8; j++)
#pragma unroll
    for (int e = 0; e < 4; e++) o[j][e] = 0;
  u32 fq[D / 16][4];

#pragma unroll 1
  for (int i = 0; i < steps; i++) {
    ask(i + 1);
    copy_wait<1>();
    sync_block();
    if (i == 0) {
#pragma unroll
      for (int kk = 0; kk < D / 16; kk++) fragment_a<D>(fq[kk], tq, r0, kk);
    }
    float p[ROWS / 8][4];
    product_rows<D, ROWS>(p, fq, tk + (i & 1) * size);
    if ((i + 1) * ROWS > len) {
#pragma unroll
      for (int j = 0; j < ROWS / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
          if (i * ROWS + j * 8 + 2 * t + (e & 1) >= len) p[j][e] = -INF;
    }
    float a0 = m0, a1 = m1;
#pragma unroll
    for (int j = 0; j < ROWS / 8; j++) {
      a0 = max_(a0, max_(p[j][0], p[j][1]));
      a1 = max_(a1, max_(p[j][2], p[j][3]));
    }
    a0 = quad_max(a0);
    a1 = quad_max(a1);
    float c0 = exp2_fast((m0 - a0) * f), c1 = exp2_fast((m1 - a1) * f);
    m0 = a0;
    m1 = a1;
    float s0 = 0, s1 = 0;
#pragma unroll
    for (int j = 0; j < ROWS / 8; j++) {
      p[j][0] = exp2_fast((p[j][0] - a0) * f);
      p[j][1] = exp2_fast((p[j][1] - a0) * f);
      p[j][2] = exp2_fast((p[j][2] - a1) * f);
      p[j][3] = exp2_fast((p[j][3] - a1) * f);
      s0 += p[j][0] + p[j][1];
      s1 += p[j][2] + p[j][3];
    }
    l0 = l0 * c0 + s0;
    l1 = l1 * c1 + s1;
#pragma unroll
    for (int j = 0; j < D / 8; j++) {
      o[j][0] *= c0, o[j][1] *= c0, o[j][2] *= c1, o[j][3] *= c1;
    }
    product_cols<D, ROWS>(o, p, tv + (i & 1) * size);
    sync_block(); // all have read this stage before it is asked for again
  }
  l0 = quad_sum(l0);
  l1 = quad_sum(l1);
  int g = q0 + r0 + (lane >> 2);
  if (lse && t == 0) {
    float *to = lse + (i64)h * tokens + lo;
    if (g < len) to[g] = m0 * scale + log_(l0);
    if (g + 8 < len) to[g + 8] = m1 * scale + log_(l1);
  }
  write_rows<D>(tiles, o, 1.0f / l0, 1.0f / l1, out + (i64)lo * inner + h * D, inner, q0 + r0, len);
}

// dk and dv of a block of keys. Q is the number of queries of a streamed tile. With scores transposed (keys are
// the rows of a fragment), both gradients are products of registers and the streamed tiles:
// pᵀ = exp(scale·k·qᵀ - lse), dv += pᵀ·dout, dsᵀ = pᵀ·(v·doutᵀ - delta)·scale, dk += dsᵀ·q.
template <int D, int Q>
DEVICE void attention_dkv_v2(bf16 *dqkv, const bf16 *qkv, const bf16 *dout, const float *lse, const float *delta, const int *starts, int tokens, int heads, float scale) {
  const int size = ROWS * D * 2, part = Q * D * 2;
  int s = block_z, h = block_y, lo = starts[s], len = starts[s + 1] - lo, k0 = block_x * ROWS;
  if (k0 >= len) return;
  int inner = heads * D, stride = 3 * inner;
  const bf16 *q = qkv + (i64)lo * stride + h * D, *k = q + inner, *v = k + inner, *g = dout + (i64)lo * inner + h * D;
  u32 tk = shared_address(tiles), tv = tk + size, tq = tv + size, tg = tq + 2 * part;
  int steps = (len + Q - 1) / Q;
  auto ask = [&](int i) {
    if (i < steps) {
      load_rows<D, Q>(tq + (i & 1) * part, q, stride, i * Q, len);
      load_rows<D, Q>(tg + (i & 1) * part, g, inner, i * Q, len);
    }
    copy_commit();
  };
  load_rows<D, ROWS>(tk, k, stride, k0, len);
  load_rows<D, ROWS>(tv, v, stride, k0, len);
  ask(0);

  int lane = tid_x & 31, r0 = (tid_x >> 5) * 16, t = lane & 3;
  const float *pl = lse + (i64)h * tokens + lo, *pd = delta + (i64)h * tokens + lo;
  float dk[D / 8][4], dv[D / 8][4];
#pragma unroll
  for (int j = 0; j < D / 8; j++)
#pragma unroll
    for (int e = 0; e < 4; e++) dk[j][e] = dv[j][e] = 0;
#pragma unroll 1
  for (int i = 0; i < steps; i++) {
    ask(i + 1);
    copy_wait<1>();
    sync_block();
    u32 cq = tq + (i & 1) * part, cg = tg + (i & 1) * part;
    float p[Q / 8][4], ds[Q / 8][4];
    product_tiles<D, Q>(p, tk, r0, cq);
    product_tiles<D, Q>(ds, tv, r0, cg);
#pragma unroll
    for (int j = 0; j < Q / 8; j++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        int col = i * Q + j * 8 + 2 * t + e;
        bool there = col < len;
        float l = there ? pl[col] : 0.0f, d = there ? pd[col] : 0.0f;
        float x = there ? exp_(p[j][e] * scale - l) : 0.0f, y = there ? exp_(p[j][e + 2] * scale - l) : 0.0f;
        p[j][e] = x;
        p[j][e + 2] = y;
        ds[j][e] = x * (ds[j][e] - d) * scale;
        ds[j][e + 2] = y * (ds[j][e + 2] - d) * scale;
      }
    product_cols<D, Q>(dv, p, cg);
    product_cols<D, Q>(dk, ds, cq);
    sync_block();
  }
  bf16 *to = dqkv + (i64)lo * stride + inner + h * D;
  write_rows<D>(tiles, dk, 1.0f, 1.0f, to, stride, k0 + r0, len);
  write_rows<D>(tiles + size, dv, 1.0f, 1.0f, to + inner, stride, k0 + r0, len);
}

// dq of a block of queries; C is the number of keys of a streamed tile. dq += ds·k.
template <int D, int C>
DEVICE void attention_dq_v2(bf16 *dqkv, const bf16 *qkv, const bf16 *dout, const float *lse, const float *delta, const int *starts, int tokens, int heads, float scale) {
  const int size = ROWS * D * 2, part = C * D * 2;
  int s = block_z, h = block_y, lo = starts[s], len = starts[s + 1] - lo, q0 = block_x * ROWS;
  if (q0 >= len) return;
  int inner = heads * D, stride = 3 * inner;
  const bf16 *q = qkv + (i64)lo * stride + h * D, *k = q + inner, *v = k + inner, *g = dout + (i64)lo * inner + h * D;
  u32 tq = shared_address(tiles), tg = tq + size, tk = tg + size, tv = tk + 2 * part;
  int steps = (len + C - 1) / C;
  auto ask = [&](int i) {
    if (i < steps) {
      load_rows<D, C>(tk + (i & 1) * part, k, stride, i * C, len);
      load_rows<D, C>(tv + (i & 1) * part, v, stride, i * C, len);
    }
    copy_commit();
  };
  load_rows<D, ROWS>(tq, q, stride, q0, len);
  load_rows<D, ROWS>(tg, g, inner, q0, len);
  ask(0);

  int lane = tid_x & 31, r0 = (tid_x >> 5) * 16, t = lane & 3, row = q0 + r0 + (lane >> 2);
  const float *pl = lse + (i64)h * tokens + lo, *pd = delta + (i64)h * tokens + lo;
  float l0 = row < len ? pl[row] : 0.0f, d0 = row < len ? pd[row] : 0.0f;
  float l1 = row + 8 < len ? pl[row + 8] : 0.0f, d1 = row + 8 < len ? pd[row + 8] : 0.0f;
  float dq[D / 8][4];
#pragma unroll
  for (int j = 0; j < D / 8; j++)
#pragma unroll
    for (int e = 0; e < 4; e++) dq[j][e] = 0;
#pragma unroll 1
  for (int i = 0; i < steps; i++) {
    ask(i + 1);
    copy_wait<1>();
    sync_block();
    u32 ck = tk + (i & 1) * part, cv = tv + (i & 1) * part;
    float p[C / 8][4], ds[C / 8][4];
    product_tiles<D, C>(p, tq, r0, ck);
    product_tiles<D, C>(ds, tg, r0, cv);
#pragma unroll
    for (int j = 0; j < C / 8; j++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        bool there = i * C + j * 8 + 2 * t + e < len;
        ds[j][e] = there ? exp_(p[j][e] * scale - l0) * (ds[j][e] - d0) * scale : 0.0f;
        ds[j][e + 2] = there ? exp_(p[j][e + 2] * scale - l1) * (ds[j][e + 2] - d1) * scale : 0.0f;
      }
    product_cols<D, C>(dq, ds, ck);
    sync_block();
  }
  write_rows<D>(tiles, dq, 1.0f, 1.0f, dqkv + (i64)lo * stride + h * D, stride, q0 + r0, len);
}

// Larger heads stream smaller tiles, to stay within the registers.
#define ATTENTION(D, Q, C) \
  KERNEL THREADS(128) void attention_v2_##D(bf16 *out, float *lse, const bf16 *qkv, const int *starts, int tokens, int heads, float scale) { \
    attention_v2<D>(out, lse, qkv, starts, tokens, heads, scale); \
  } \
  KERNEL THREADS(128) void attention_dkv_v2_##D(bf16 *dqkv, const bf16 *qkv, const bf16 *dout, const float *lse, const float *delta, const int *starts, int tokens, int heads, float scale) { \
    attention_dkv_v2<D, Q>(dqkv, qkv, dout, lse, delta, starts, tokens, heads, scale); \
  } \
  KERNEL THREADS(128) void attention_dq_v2_##D(bf16 *dqkv, const bf16 *qkv, const bf16 *dout, const float *lse, const float *delta, const int *starts, int tokens, int heads, float scale) { \
    attention_dq_v2<D, C>(dqkv, qkv, dout, lse, delta, starts, tokens, heads, scale); \
  }
ATTENTION(32, 64, 64)
ATTENTION(64, 64, 64)
ATTENTION(96, 32, 32)
ATTENTION(128, 16, 32)
