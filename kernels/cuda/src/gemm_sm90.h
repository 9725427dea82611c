// What the GEMM kernels of compute capability 9.0 share: a ring of stages in shared memory that one thread fills through
// the copy engine, and the warpgroup products that read it.
#pragma once
#include "gemm.h"
#include "hopper.h"

#define TILE_M 128
#define TILE_K 64
#define A_BYTES (TILE_M * TILE_K * 2)
#define BLOCK_BYTES (64 * 128) // 64 rows of 64 elements, what one box of a transposed operand fills

// Tiles of 128 x 256 are multiplied by both consumers, 64 rows each. Of narrower ones a consumer multiplies both halves
// of 64 rows, and the consumers take turns.
template <int TILE_N> constexpr int halves = TILE_N == 256 ? 1 : 2;
template <int TILE_N> using Accumulators = float[halves<TILE_N>][TILE_N / 2];

// What lies in shared memory: STAGES stages of A and B, SCRATCH bytes for finishing tiles, barriers.
template <int TILE_N, int STAGES, int SCRATCH> struct Ring {
  static constexpr int tile_n = TILE_N, stages = STAGES;
  static constexpr int stage_bytes = A_BYTES + TILE_N * TILE_K * 2;
  static constexpr int scratch = stages * stage_bytes;
  static constexpr int barriers = scratch + SCRATCH;
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
// about as many rows of A as columns of B: 132 tiles of 128x256 are near 16 x 8, of 128x192 near 14 x 9, of
// 128x128 near 12 x 11.
template <int TILE_N> DEVICE Item item(const Gemm &g, int i, int tiles_m, int tiles_n) {
  constexpr int high = TILE_N == 256 ? 16 : TILE_N == 192 ? 14 : 12;
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
template <class R> DEVICE void produce(const Gemm &g, const R &ring, u64 map_a, u64 map_b, int items, int tiles_m, int tiles_n) {
  constexpr int TILE_N = R::tile_n;
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
template <bool TA, bool TB, class R>
DEVICE void multiply(Accumulators<R::tile_n> &acc, const R &ring, u32 at, int steps, int consumer, u32 turn) {
  constexpr int TILE_N = R::tile_n;
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
      for (int half = 0; half < halves<TILE_N>; half++)
        wgmma<A_OUTER, B_OUTER>(acc[half], descriptor<A_OUTER>(a + half * BLOCK_BYTES + k * (A_OUTER ? 16 * 128 : 32)),
                                descriptor<B_OUTER>(b + k * (B_OUTER ? 16 * 128 : 32)), k ? 1 : keep);
    wgmma_commit();
  };
#pragma unroll
  for (int half = 0; half < halves<TILE_N>; half++) wgmma_forget(acc[half]);
  if (halves<TILE_N> == 2) barrier_wait(ring.turn(consumer), (turn & 1) ^ (consumer == 0)); // the first turn is consumer 0's
  ask(0);
#pragma unroll 1
  for (int step = 1; step < steps; step++) {
    u32 last = slot;
    if (++slot == ring.stages) slot = 0, phase ^= 1;
    ask(1);
    wgmma_wait<1>();
    if (first_lane) barrier_arrive(ring.empty(last));
  }
  if (halves<TILE_N> == 2 && first_lane) barrier_arrive(ring.turn(consumer ^ 1));
  wgmma_wait<0>();
#pragma unroll
  for (int half = 0; half < halves<TILE_N>; half++) wgmma_done(acc[half]);
  if (first_lane) barrier_arrive(ring.empty(slot));
}

// The layouts are told apart once for each item.
template <class R> DEVICE void multiply(const Gemm &g, Accumulators<R::tile_n> &acc, const R &ring, u32 at, int steps, int consumer, u32 turn) {
  if (g.trans_a) {
    if (g.trans_b)
      multiply<true, true>(acc, ring, at, steps, consumer, turn);
    else
      multiply<true, false>(acc, ring, at, steps, consumer, turn);
  } else {
    if (g.trans_b)
      multiply<false, true>(acc, ring, at, steps, consumer, turn);
    else
      multiply<false, false>(acc, ring, at, steps, consumer, turn);
  }
}
