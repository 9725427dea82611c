// GEMM, version 3: compute capability 9.0 (wgmma and the copy engine). Versions 1 and 2 are in gemm.cu.
//
// Two numbers first, for bf16 in, f32 accumulated, with the ceilings of an H100 80GB (798 TFLOP/s, 3.0 TB/s):
//
//   M x N x K                           FLOPs      floor    bytes     floor
//   4096 x 4096 x 4096                  137 G      172 us   101 MB     34 us
//   50432 x 3072 x 768 (ViT-B fc1)      238 G      298 us   392 MB    131 us
//   50432 x 768 x 768  (ViT-B proj)      59 G       75 us   156 MB     52 us
//   64 x 65536 x 256   (prototypes)     2.1 G        3 us    42 MB     14 us
//
// So everything but the prototypes is bound by the tensor cores.
//
// version  idea                                                                                 measured
// v1       16x16 tile, one multiply-add per thread and step                                     not yet
// v2       128x128x32, mma.sync, 4-stage cp.async; mma.sync ends at 63-65 % of the peak           not yet
// v3/256   128x256x64 by two warpgroups of wgmma m64n256k16, a third warpgroup feeds a ring of      not yet
//          4 stages through the copy engine; persistent grid, tiles ordered for L2; the next
//          tile is loaded while this one is finished
// v3/128   128x128x64 by one warpgroup, the two take turns: one finishes its tile while the         not yet
//          other multiplies. For few columns and for short K, where finishing takes as long as
//          multiplying. At peak it would move 160 bytes a clock through shared memory, which has
//          128 (128x256: 128), so it ends at 80 %
// next     pairs of blocks that share B through multicast; copies for the output
#include "gemm.h"
#include "hopper.h"

#define TILE_M 128
#define TILE_K 64
#define A_BYTES (TILE_M * TILE_K * 2)
#define BLOCK_BYTES (64 * 128) // 64 rows of 64 elements, what one box of a transposed operand fills
#define PATCH_FLOATS (16 * 64) // what a warp lays out in shared memory at a time to finish it
#define ROWS 2                 // rows that a lane finishes at once; more would spill

template <int TILE_N> struct Ring {
  static constexpr int stages = TILE_N == 256 ? 4 : 6;
  static constexpr int stage_bytes = A_BYTES + TILE_N * TILE_K * 2;
  static constexpr int patches = stages * stage_bytes;
  static constexpr int barriers = patches + 8 * PATCH_FLOATS * 4;
  // Warps that read a stage: those of both consumers, or of the one whose turn it is.
  static constexpr int readers = TILE_N == 256 ? 8 : 4;
  u32 base;
  __attribute__((device, always_inline)) u32 full(u32 slot) const { return base + barriers + slot * 8; }
  __attribute__((device, always_inline)) u32 empty(u32 slot) const { return base + barriers + (stages + slot) * 8; }
  // With this consumer's turn to multiply, where they take turns.
  __attribute__((device, always_inline)) u32 turn(int consumer) const { return base + barriers + (2 * stages + consumer) * 8; }
  __attribute__((device, always_inline)) u32 stage(u32 slot) const { return base + slot * stage_bytes; }
};

// One piece of work: an output tile over a stretch of K.
struct Item { int m0, n0, k0, steps, split; };

// The number of steps of item i; what lies past the last item is never used.
DEVICE int steps_of(const Gemm &g, int i, int tiles) { return (min_(g.k - i / tiles * g.k_split, g.k_split) + TILE_K - 1) / TILE_K; }

// Item i of the grid. Tiles run down columns of `high` tiles, so that the blocks that work at the same time touch
// about as many rows of A as columns of B: 132 tiles of 128x256 are near 16 x 8, of 128x128 near 12 x 11.
template <int TILE_N> DEVICE Item item(const Gemm &g, int i, int tiles_m, int tiles_n) {
  constexpr int high = TILE_N == 256 ? 16 : 12;
  int tiles = tiles_m * tiles_n;
  Item t;
  t.split = i / tiles;
  i -= t.split * tiles;
  int first = i / (high * tiles_n) * high;
  i -= first * tiles_n;
  int height = min_(high, tiles_m - first);
  t.n0 = i / height;
  t.m0 = (first + i - t.n0 * height) * TILE_M;
  t.n0 *= TILE_N;
  t.k0 = t.split * g.k_split;
  t.steps = steps_of(g, t.split * tiles, tiles);
  return t;
}

// The producer: one thread. Every box is whole, what lies outside the matrices is zero.
template <int TILE_N> DEVICE void produce(const Gemm &g, const Ring<TILE_N> &ring, u64 map_a, u64 map_b, int items, int tiles_m, int tiles_n) {
  prefetch_map(map_a);
  prefetch_map(map_b);
  u32 slot = 0, phase = 0;
#pragma unroll 1
  for (int i = block_x; i < items; i += grid_x) {
    Item t = item<TILE_N>(g, i, tiles_m, tiles_n);
#pragma unroll 1
    for (int k = t.k0; t.steps > 0; t.steps--, k += TILE_K) {
      barrier_wait(ring.empty(slot), phase ^ 1);
      u32 full = ring.full(slot), to = ring.stage(slot);
      barrier_expect(full, ring.stage_bytes);
      if (g.trans_a) {
        copy_box(to, map_a, t.m0, k, full);
        copy_box(to + BLOCK_BYTES, map_a, t.m0 + 64, k, full);
      } else {
        copy_box(to, map_a, k, t.m0, full);
      }
      to += A_BYTES;
      if (g.trans_b) {
        copy_box(to, map_b, k, t.n0, full);
      } else {
#pragma unroll
        for (int j = 0; j < TILE_N / 64; j++) copy_box(to + j * BLOCK_BYTES, map_b, t.n0 + j * 64, k, full);
      }
      if (++slot == ring.stages) slot = 0, phase ^= 1;
    }
  }
}

// acc = the product of one item, read from the ring from step number `at` on. TILE_N 256: this consumer's 64 rows;
// 128: all 128 rows in two halves, once the other consumer has seen all its stages arrive. Without that order a parity
// would not do: it tells a round of the ring from the one before, not from the one before that. A stage is given back
// one step after its products were asked for, when they are known to be done; so two steps are in the tensor cores'
// queue at any time.
template <bool TA, bool TB, int TILE_N>
DEVICE void multiply(float (&acc)[256 / TILE_N][TILE_N / 2], const Ring<TILE_N> &ring, u32 at, int steps, int consumer, u32 turn) {
  constexpr bool A_OUTER = TA, B_OUTER = !TB;
  u32 slot = at % ring.stages, phase = at / ring.stages & 1;
  bool first_lane = (tid_x & 31) == 0;
  auto ask = [&](int keep) __attribute__((always_inline)) {
    barrier_wait(ring.full(slot), phase);
    wgmma_fence();
    u32 a = ring.stage(slot) + (TILE_N == 256 ? consumer * BLOCK_BYTES : 0), b = ring.stage(slot) + A_BYTES;
#pragma unroll
    for (int k = 0; k < TILE_K / 16; k++)
#pragma unroll
      for (int half = 0; half < 256 / TILE_N; half++)
        wgmma<A_OUTER, B_OUTER>(acc[half], descriptor<A_OUTER>(a + half * BLOCK_BYTES + k * (A_OUTER ? 16 * 128 : 32)),
                                descriptor<B_OUTER>(b + k * (B_OUTER ? 16 * 128 : 32)), k ? 1 : keep);
    wgmma_commit();
  };
#pragma unroll
  for (int half = 0; half < 256 / TILE_N; half++) wgmma_forget(acc[half]);
  if (TILE_N == 128) barrier_wait(ring.turn(consumer), (turn & 1) ^ (consumer == 0)); // the first turn is consumer 0's
  ask(0);
#pragma unroll 1
  for (int step = 1; step < steps; step++) {
    u32 last = slot;
    if (++slot == ring.stages) slot = 0, phase ^= 1;
    ask(1);
    wgmma_wait<1>();
    if (first_lane) barrier_arrive(ring.empty(last));
  }
  if (TILE_N == 128 && first_lane) barrier_arrive(ring.turn(consumer ^ 1));
  wgmma_wait<0>();
#pragma unroll
  for (int half = 0; half < 256 / TILE_N; half++) wgmma_done(acc[half]);
  if (first_lane) barrier_arrive(ring.empty(slot));
}

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
template <int TILE_N> DEVICE float &quarter(float (&acc)[256 / TILE_N][TILE_N / 2], int q, int i) {
  return TILE_N == 256 ? acc[0][q * 32 + i] : acc[q / 2][q % 2 * 32 + i];
}

// The first quarter to shared memory. Chunks of four floats are exchanged by the low bits of the row, which keeps both
// sides free of bank conflicts.
DEVICE float *patch(float *mine, int row, int chunk) { return mine + row * 64 + ((chunk ^ ((row & 7) << 1)) << 2); }
template <int TILE_N> DEVICE void lay_out(float *mine, float (&acc)[256 / TILE_N][TILE_N / 2]) {
  int lane = tid_x & 31;
#pragma unroll
  for (int j = 0; j < 8; j++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      float2v two = {quarter<TILE_N>(acc, 0, 4 * j + 2 * h), quarter<TILE_N>(acc, 0, 4 * j + 2 * h + 1)};
      *(float2v *)(patch(mine, h * 8 + (lane >> 2), j * 2 + ((lane & 3) >> 1)) + (lane & 1) * 2) = two;
    }
}

template <int TILE_N> DEVICE void consume(const Gemm &g, const Ring<TILE_N> &ring, float *mine, int consumer, int items, int tiles_m, int tiles_n) {
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
    float acc[256 / TILE_N][TILE_N / 2];
    int rows = t.m0 + warp * 16 + (together ? consumer * 64 : 0);
    if (!g.partial) {
#pragma unroll 1
      for (int half = 0; half < 256 / TILE_N; half++) {
        fetch_ahead<TILE_N>(g, g.grad_of, rows + half * 64, t.n0);
        fetch_ahead<TILE_N>(g, g.residual, rows + half * 64, t.n0);
        if (g.accumulate) fetch_ahead<TILE_N>(g, g.out, rows + half * 64, t.n0);
      }
    }
    if (g.trans_a) {
      if (g.trans_b)
        multiply<true, true, TILE_N>(acc, ring, at, t.steps, consumer, turn);
      else
        multiply<true, false, TILE_N>(acc, ring, at, t.steps, consumer, turn);
    } else {
      if (g.trans_b)
        multiply<false, true, TILE_N>(acc, ring, at, t.steps, consumer, turn);
      else
        multiply<false, false, TILE_N>(acc, ring, at, t.steps, consumer, turn);
    }
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
  Ring<TILE_N> ring = {shared_address(tiles)};
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
    if (tid_x == 0) produce<TILE_N>(g, ring, map_a, map_b, items, tiles_m, tiles_n);
  } else {
    registers_up<232>();
    float *mine = (float *)(tiles + ring.patches) + ((tid_x >> 5) - 4) * PATCH_FLOATS;
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
