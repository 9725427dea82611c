// GEMM, version 3: compute capability 9.0 (wgmma and the copy engine). Versions 1 and 2 are in gemm.cu.
//
// Two numbers first, for bf16 in, f32 accumulated, with the ceilings of an NVIDIA H200: the best that any product reached on it
// (829 TFLOP/s, cuBLAS), and its copy (4.05 TB/s):
//
//   M x N x K                           FLOPs      floor    bytes     floor
//   4096 x 4096 x 4096                  137 G      166 us   101 MB     25 us
//   58496 x 3072 x 768 (ViT-B fc1)      276 G      333 us   454 MB    112 us
//   58496 x 768 x 768  (ViT-B proj)      69 G       83 us   181 MB     45 us
//   640 x 65536 x 256  (prototypes)      21 G       26 us   118 MB     29 us
//
// So everything but the prototypes is bound by the tensor cores. TFLOP/s of the four, measured on that card on 2026-11-28 with
// a bf16 output and no epilogue (bench/products has all 45 products); those of version 4 are what the model of gemm_model.go
// expects, not measured. cuBLAS: 779, 727, 651, 474.
//
// version  idea                                                                            4096   fc1  proj  prototypes
// v1       16x16 tile, one multiply-add per thread and step                                   6     6     6     6
// v2       128x128x32, mma.sync, 4-stage cp.async; mma.sync ends at 63-65 % of the peak     344   240   235   126
// v3/256   128x256x64 by two warpgroups of wgmma m64n256k16, a third warpgroup feeds a      665
//          ring of 4 stages through the copy engine; persistent grid, tiles ordered for
//          L2; the next tile is loaded while this one is finished
// v3/128   128x128x64 by one warpgroup, the two take turns: one finishes its tile while            400   383   168
//          the other multiplies. For few columns and for short K, where finishing takes as
//          long as multiplying: 10.9 us a tile, 7 clocks an instruction. At peak it would
//          move 160 bytes a clock through shared memory, which has 128 (128x192: 139,
//          128x256: 128), so it ends at 80 %
// v4       gemm_v4_sm90.cu: packed to bf16 in registers, laid out by stmatrix, stored by    788   777   739   577
//          the copy engine, which brings what the epilogue reads as well: a fifth of the
//          instructions; turns at 128x192, for whose finishing shared memory and registers
//          now suffice
// not done pairs of blocks that share B through multicast: the main loop is explained by the tensor cores and shared
//          memory, which multicast fills as often; it would save L2 reads alone
#include "gemm_sm90.h"

#define PATCH_FLOATS (16 * 64) // what a warp lays out in shared memory at a time to finish it
#define ROWS 2                 // rows that a lane finishes at once; more would spill

template <int TILE_N> using RingV3 = Ring<TILE_N, TILE_N == 256 ? 4 : 6, 8 * PATCH_FLOATS * 4>;

// The matrices that the epilogue reads are on their way to L2 while the tile is multiplied.
template <int TILE_N> DEVICE void fetch_ahead(const Gemm &g, Any p, int m, int n) {
  if (!p) return;
  int lines = TILE_N * (p & 1 ? 2 : 4) / 128, size = p & 1 ? 2 : 4, lane = tid_x & 31;
  const char *from = (const char *)(p & ~(Any)1);
#pragma unroll 1
  for (int e = lane; e < 16 * lines; e += 32) {
    int row = m + (e & 15), col = n + (e >> 4) * (128 / size);
    if (row < g.m && col < g.n) prefetch_l2(from + ((i64)row * g.ldo + col) * size);
  }
}

// Accumulator i of quarter q: 16 rows and 64 columns of what a warp holds. q and i are constants where it is used.
template <int TILE_N> DEVICE float &quarter(Accumulators<TILE_N> &acc, int q, int i) {
  return TILE_N == 256 ? acc[0][q * 32 + i] : acc[q / 2][q % 2 * 32 + i];
}

// The first quarter to shared memory. Chunks of four floats are exchanged by the low bits of the row, which keeps both
// sides free of bank conflicts.
DEVICE float *patch(float *mine, int row, int chunk) { return mine + row * 64 + ((chunk ^ ((row & 7) << 1)) << 2); }
template <int TILE_N> DEVICE void lay_out(float *mine, Accumulators<TILE_N> &acc) {
  int lane = tid_x & 31;
#pragma unroll
  for (int j = 0; j < 8; j++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      float2v two = {quarter<TILE_N>(acc, 0, 4 * j + 2 * h), quarter<TILE_N>(acc, 0, 4 * j + 2 * h + 1)};
      *(float2v *)(patch(mine, h * 8 + (lane >> 2), j * 2 + ((lane & 3) >> 1)) + (lane & 1) * 2) = two;
    }
}

template <int TILE_N> DEVICE void consume(const Gemm &g, const RingV3<TILE_N> &ring, float *mine, int consumer, int items, int tiles_m, int tiles_n) {
  constexpr bool together = TILE_N == 256;
  int lane = tid_x & 31, warp = (tid_x >> 5) & 3;
  // Both consumers take every item of the block, or each every other; `at` counts the steps of those left out too.
  int first = block_x, stride = grid_x;
  u32 at = 0, turn = 0;
  if (!together) {
    if (consumer) at = steps_of(g, first, tiles_m * tiles_n), first += grid_x;
    stride *= 2;
  }
#pragma unroll 1
  for (int i = first; i < items; i += stride) {
    Item t = item<TILE_N>(g, i, tiles_m, tiles_n);
    Accumulators<TILE_N> acc;
    int rows = t.m0 + warp * 16 + (together ? consumer * 64 : 0);
    if (!g.partial) {
#pragma unroll 1
      for (int half = 0; half < halves<TILE_N>; half++) {
        fetch_ahead<TILE_N>(g, g.grad_of, rows + half * 64, t.n0);
        fetch_ahead<TILE_N>(g, g.residual, rows + half * 64, t.n0);
        if (g.accumulate) fetch_ahead<TILE_N>(g, g.out, rows + half * 64, t.n0);
      }
    }
    multiply(g, acc, ring, at, t.steps, consumer, turn);
    // The epilogue is in the code once: each round finishes the first quarter, then the others move up.
#pragma unroll 1
    for (int q = 0; q < 4; q++) {
      int m0 = rows + (together ? 0 : q / 2 * 64), n0 = t.n0 + (together ? q : q & 1) * 64, n = n0 + (lane & 15) * 4;
      if (m0 < g.m && n0 < g.n) {
        lay_out<TILE_N>(mine, acc);
        sync_warp();
        if (n < g.n) {
#pragma unroll 1
          for (int row = lane >> 4; row < 16 && m0 + row < g.m; row += 2 * ROWS) {
            Vec<4> z[ROWS];
#pragma unroll
            for (int j = 0; j < ROWS; j++) z[j] = load_vec<4>(patch(mine, row + 2 * j, lane & 15));
            finish<ROWS, 2>(g, t.split, m0 + row, n, z);
          }
        }
        sync_warp();
      }
#pragma unroll
      for (int i = 0; i < 32; i++) {
#pragma unroll
        for (int k = 0; k < 3; k++) quarter<TILE_N>(acc, k, i) = quarter<TILE_N>(acc, k + 1, i);
        quarter<TILE_N>(acc, 3, i) = 0;
      }
    }
    at += t.steps;
    if (!together) at += steps_of(g, i + grid_x, tiles_m * tiles_n), turn++;
  }
}

template <int TILE_N> DEVICE void gemm_v3(const Gemm &g, u64 map_a, u64 map_b) {
  extern SHARED __attribute__((aligned(1024))) char tiles[];
  RingV3<TILE_N> ring = {shared_address(tiles)};
  if (tid_x == 0) {
#pragma unroll 1
    for (u32 s = 0; s < ring.stages; s++) {
      barrier_init(ring.full(s), 1);
      barrier_init(ring.empty(s), ring.readers);
    }
    if (TILE_N == 128) {
      barrier_init(ring.turn(0), 4);
      barrier_init(ring.turn(1), 4);
    }
    barrier_init_done();
  }
  sync_block();
  int tiles_m = (g.m + TILE_M - 1) / TILE_M, tiles_n = (g.n + TILE_N - 1) / TILE_N;
  int items = tiles_m * tiles_n * ((g.k + g.k_split - 1) / g.k_split);
  int group = first_lane_value(tid_x >> 7); // the assembler then knows that all lanes take the same way
  if (group == 0) {
    registers_down<40>();
    if (tid_x == 0) produce(g, ring, map_a, map_b, items, tiles_m, tiles_n);
  } else {
    registers_up<232>();
    float *mine = (float *)(tiles + ring.scratch) + ((tid_x >> 5) - 4) * PATCH_FLOATS;
    consume<TILE_N>(g, ring, mine, group - 1, items, tiles_m, tiles_n);
  }
}

// clang would copy a by-value map to local memory; the copy engine needs the parameter itself.
#define GEMM_V3(N) \
  KERNEL THREADS_ONE_BLOCK(384) void gemm_v3_##N(TensorMap a, TensorMap b, Gemm g) { \
    u64 map_a, map_b; \
    asm("{\n.reg .b64 t;\nmov.b64 t, gemm_v3_" #N "_param_0;\ncvta.param.u64 %0, t;\n}" : "=l"(map_a)); \
    asm("{\n.reg .b64 t;\nmov.b64 t, gemm_v3_" #N "_param_1;\ncvta.param.u64 %0, t;\n}" : "=l"(map_b)); \
    gemm_v3<N>(g, map_a, map_b); \
  }
GEMM_V3(256)
GEMM_V3(128)
