// GEMM, the ladder. Version 3 (compute capability 9.0) and the two numbers of each product are in gemm_sm90.cu.
//
// version  idea                                                                           used for             measured
// v1       16x16 tile in shared memory, one multiply-add per thread and step              f32, odd strides     not yet
// v2       128x128x32 tile, mma.sync m16n8k16 with 64x64 per warp, 4-stage cp.async,      bf16                 not yet
//          ldmatrix from swizzled shared memory, epilogue on whole rows through shared memory, two rows a
//          lane at once; split-K with an ordered second pass where the grid would be small
#include "gemm.h"
#include "tensorcore.h"

// ---- v1 ----

template <class T> DEVICE void gemm_v1(const Gemm &g) {
  SHARED static float ta[16][17], tb[16][17];
  const T *a = (const T *)g.a, *b = (const T *)g.b;
  int x = tid_x, y = tid_y;
  int m = block_y * 16 + y, n = block_x * 16 + x;
  float acc = 0;
  for (int k0 = 0; k0 < g.k; k0 += 16) {
    // The thread's fast index follows the contiguous dimension of each operand.
    int am = block_y * 16 + (g.trans_a ? x : y), ak = k0 + (g.trans_a ? y : x);
    float va = 0;
    if (am < g.m && ak < g.k) va = load(a + (g.trans_a ? (i64)ak * g.lda + am : (i64)am * g.lda + ak));
    int bn = block_x * 16 + (g.trans_b ? y : x), bk = k0 + (g.trans_b ? x : y);
    float vb = 0;
    if (bn < g.n && bk < g.k) vb = load(b + (g.trans_b ? (i64)bn * g.ldb + bk : (i64)bk * g.ldb + bn));
    if (g.trans_a) ta[x][y] = va; else ta[y][x] = va;
    if (g.trans_b) tb[y][x] = vb; else tb[x][y] = vb;
    sync_block();
#pragma unroll
    for (int k = 0; k < 16; k++) acc = fma_(ta[y][k], tb[x][k], acc);
    sync_block();
  }
  if (m < g.m && n < g.n) {
    Vec<1> v[1];
    v[0].v[0] = acc;
    epilogue<1, 1, 1>(g, m, n, v);
  }
}

KERNEL THREADS(256) void gemm_v1_f32(Gemm g) { gemm_v1<float>(g); }
KERNEL THREADS(256) void gemm_v1_bf16(Gemm g) { gemm_v1<bf16>(g); }

// ---- v2 ----

#define TILE_M 128
#define TILE_N 128
#define TILE_K 32
#define STAGES 4
#define STAGE_BYTES ((TILE_M + TILE_N) * TILE_K * 2)

// An operand tile in shared memory, 16-byte chunks. K contiguous: 128 rows (m or n) of 4 chunks; two rows share
// a 128-byte line, so the chunk is exchanged by bits 1 and 2 of the row. K outermost: 32 rows (k) of 16 chunks,
// exchanged by the low three bits. Eight rows at one logical chunk then lie in eight different bank groups.
DEVICE u32 chunk_k_inner(int row, int chunk) { return (u32)(row * 64 + ((chunk ^ ((row >> 1) & 3)) << 4)); }
DEVICE u32 chunk_k_outer(int row, int chunk) { return (u32)(row * 256 + ((chunk ^ (row & 7)) << 4)); }

// Asks for one operand tile: rows x cols of memory from (r0, c0), cols contiguous. Out of range is zero.
template <bool INNER>
DEVICE void load_tile(u32 to, const bf16 *p, int ld, int r0, int rows, int c0, int cols) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    int e = tid_x + i * 128;
    int row = INNER ? e >> 2 : e >> 4, chunk = INNER ? e & 3 : e & 15;
    int r = r0 + row, c = c0 + chunk * 8;
    int bytes = r < rows ? max_(0, min_(16, (cols - c) * 2)) : 0;
    const bf16 *from = bytes ? p + (i64)r * ld + c : p;
    copy_async(to + (INNER ? chunk_k_inner(row, chunk) : chunk_k_outer(row, chunk)), from, bytes);
  }
}

template <bool TA, bool TB> DEVICE void gemm_v2(const Gemm &g) {
  extern SHARED __attribute__((aligned(128))) char tiles[];
  u32 base = shared_address(tiles);
  const bf16 *a = (const bf16 *)g.a, *b = (const bf16 *)g.b;
  int m0 = block_y * TILE_M, n0 = block_x * TILE_N;
  int k_lo = block_z * g.k_split, k_hi = min_(g.k, k_lo + g.k_split);
  int steps = (k_hi - k_lo + TILE_K - 1) / TILE_K;
  int lane = tid_x & 31, warp = tid_x >> 5;
  int wm = (warp >> 1) * 64, wn = (warp & 1) * 64;

  auto ask = [&](int step) {
    if (step < steps) {
      u32 to = base + (u32)(step % STAGES) * STAGE_BYTES;
      int k = k_lo + step * TILE_K;
      if (TA)
        load_tile<false>(to, a, g.lda, k, k_hi, m0, g.m);
      else
        load_tile<true>(to, a, g.lda, m0, g.m, k, k_hi);
      to += TILE_M * TILE_K * 2;
      if (TB)
        load_tile<true>(to, b, g.ldb, n0, g.n, k, k_hi);
      else
        load_tile<false>(to, b, g.ldb, k, k_hi, n0, g.n);
    }
    copy_commit();
  };

  float acc[4][8][4];
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) acc[i][j][e] = 0;

#pragma unroll
  for (int s = 0; s < STAGES - 1; s++) ask(s);
  for (int step = 0; step < steps; step++) {
    copy_wait<STAGES - 2>();
    sync_block(); // the tile of this step is here for all, and the one read last may be overwritten
    ask(step + STAGES - 1);
    u32 ta = base + (u32)(step % STAGES) * STAGE_BYTES, tb = ta + TILE_M * TILE_K * 2;
#pragma unroll
    for (int kk = 0; kk < TILE_K; kk += 16) {
      u32 fa[4][4], fb[8][2];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        if (TA)
          ldmatrix4_trans(fa[i], ta + chunk_k_outer(kk + (lane & 7) + ((lane >> 4) << 3), (wm + i * 16) / 8 + ((lane >> 3) & 1)));
        else
          ldmatrix4(fa[i], ta + chunk_k_inner(wm + i * 16 + (lane & 15), kk / 8 + (lane >> 4)));
      }
#pragma unroll
      for (int j = 0; j < 8; j += 2) {
        u32 r[4];
        if (TB)
          ldmatrix4(r, tb + chunk_k_inner(wn + j * 8 + (lane & 7) + ((lane >> 4) << 3), kk / 8 + ((lane >> 3) & 1)));
        else
          ldmatrix4_trans(r, tb + chunk_k_outer(kk + (lane & 15), (wn + j * 8) / 8 + (lane >> 4)));
        fb[j][0] = r[0], fb[j][1] = r[1], fb[j + 1][0] = r[2], fb[j + 1][1] = r[3];
      }
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) mma(acc[i][j], fa[i], fb[j]);
    }
  }

  // Each warp lays its 64x64 tile out in shared memory (the stages are free now) and finishes it row by row, four
  // neighbouring columns a lane: whole lines of memory, and the epilogue is in the code once. Chunks of four
  // floats are exchanged by the low bits of the row, which keeps both sides free of bank conflicts.
  copy_wait<0>();
  sync_block();
  float *mine = (float *)tiles + warp * 64 * 64;
  auto patch = [&](int row, int chunk) { return mine + row * 64 + ((chunk ^ ((row & 7) << 1)) << 2); };
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
      for (int h = 0; h < 2; h++) {
        float2v two = {acc[i][j][2 * h], acc[i][j][2 * h + 1]};
        *(float2v *)(patch(i * 16 + h * 8 + (lane >> 2), j * 2 + ((lane & 3) >> 1)) + (lane & 1) * 2) = two;
      }
  sync_warp();
  int n = n0 + wn + (lane & 15) * 4;
  if (n >= g.n) return;
#pragma unroll 1
  for (int row = lane >> 4; row < 64; row += 4) {
    int m = m0 + wm + row;
    if (m >= g.m) break;
    Vec<4> z[2];
#pragma unroll
    for (int i = 0; i < 2; i++) z[i] = load_vec<4>(patch(row + 2 * i, lane & 15));
    finish<2, 2>(g, block_z, m, n, z);
  }
}

KERNEL THREADS(128) void gemm_v2_nn(Gemm g) { gemm_v2<false, false>(g); }
KERNEL THREADS(128) void gemm_v2_nt(Gemm g) { gemm_v2<false, true>(g); }
KERNEL THREADS(128) void gemm_v2_tn(Gemm g) { gemm_v2<true, false>(g); }
KERNEL THREADS(128) void gemm_v2_tt(Gemm g) { gemm_v2<true, true>(g); }

// The second pass of split-K: sums the parts of N neighbouring elements in order and finishes them.
template <int N> DEVICE void gemm_finish(const Gemm &g, int splits) {
  i64 i = ((i64)block_x * dim_x + tid_x) * N, total = (i64)g.m * g.n;
  if (i >= total) return;
  Vec<N> v[1];
#pragma unroll
  for (int j = 0; j < N; j++) v[0].v[j] = 0;
#pragma unroll 4
  for (int s = 0; s < splits; s++) {
    Vec<N> p = load_vec<N>(g.partial + s * total + i);
#pragma unroll
    for (int j = 0; j < N; j++) v[0].v[j] += p.v[j];
  }
  int m = (int)(i / g.n);
  epilogue<N, 1, 1>(g, m, (int)(i - (i64)m * g.n), v);
}
KERNEL THREADS(256) void gemm_finish(Gemm g, int splits) { gemm_finish<1>(g, splits); }
KERNEL THREADS(256) void gemm_finishv(Gemm g, int splits) { gemm_finish<4>(g, splits); }
