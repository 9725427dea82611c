// GEMM, version 4: compute capability 9.0. The main loop is that of version 3 (gemm_sm90.h, with the ladder at the head of
// gemm_sm90.cu); tiles are finished another way. Accumulators become bf16 in registers, a warp lays 16 rows of 64 columns
// at a time out in shared memory (stmatrix, 128-byte swizzle), and the copy engine stores them while the warp goes on.
// What the epilogue reads comes the same way, asked for before the tile is multiplied, and is replaced in place.
//
// All matrices of the epilogue are bf16 with rows on 16-byte boundaries, vectors over n are f32, and n is a multiple of
// eight; the copy engine leaves out what lies outside. Parts of a sum over k are stored as they are, in f32.
#include "gemm_sm90.h"

#define PIECE_BYTES (16 * 128) // 16 rows of 64 elements: what a warp hands to the copy engine at a time

template <int TILE_N> struct V4 {
  static constexpr int stages = TILE_N == 128 ? 5 : 4;
  // Pieces in shared memory for each warp. The matrices of one piece of the output take up to this many together.
  static constexpr int pieces = TILE_N == 256 ? 2 : 4;
  static constexpr int across = TILE_N / 64; // pieces beside each other
  typedef Ring<TILE_N, stages, 8 * pieces * PIECE_BYTES> ring;
  static constexpr int arrived = ring::barriers + (2 * stages + 2) * 8; // barriers of what the epilogue reads
};

struct Maps { u64 a, b, out, pre, grad_of, residual; };

// What a warp has in shared memory. A set is what one piece of the output needs: the pieces that are read, in the order of the
// formula, and the one before its activation. The result takes the place of the last one read. Sets are used in turn.
struct Sets {
  u32 base, arrived; // shared addresses of the warp's pieces and barriers
  int reads, size;   // pieces of a set: those that are read; all
  int count;         // sets: 1, 2 or 4
  u32 next;          // pieces of the output before this tile
  __attribute__((device, always_inline)) u32 set(u32 i) const { return base + (i & (count - 1)) * size * PIECE_BYTES; }
  __attribute__((device, always_inline)) u32 barrier(u32 i) const { return arrived + (i & (count - 1)) * 8; }
  __attribute__((device, always_inline)) u32 parity(u32 i) const { return (count == 4 ? i >> 2 : count == 2 ? i >> 1 : i) & 1; }
  __attribute__((device, always_inline)) u32 result(u32 set) const { return set + max_(reads - 1, 0) * PIECE_BYTES; }
  __attribute__((device, always_inline)) u32 before(u32 set) const { return set + max_(reads, 1) * PIECE_BYTES; }
};

// The pieces of a warp's part of a tile that lie in the output: down x across, in rows of `across`.
struct Pieces {
  int m0, n0, across, all;
  __attribute__((device, always_inline)) int m(int i) const { return m0 + (i >= across ? 64 : 0); }
  __attribute__((device, always_inline)) int n(int i) const { return n0 + (i >= across ? i - across : i) * 64; }
};
template <int TILE_N> DEVICE Pieces pieces_of(const Gemm &g, int m0, int n0) {
  Pieces p = {m0, n0, min_((g.n - n0 + 63) / 64, V4<TILE_N>::across), 0};
  int down = m0 >= g.m ? 0 : halves<TILE_N> == 2 && m0 + 64 < g.m ? 2 : 1;
  p.all = down * p.across;
  return p;
}

// Waits until the stores from all sets but the `keep` used last have been read, so that the others can be written.
DEVICE void wait_for_sets(int keep) {
  switch (keep) {
  case 0: store_wait_read<0>(); break;
  case 1: store_wait_read<1>(); break;
  default: store_wait_read<3>();
  }
}

// Asks for what piece i reads; one lane. The set has been given back by the stores from it.
DEVICE void ask(const Gemm &g, const Maps &maps, const Sets &s, const Pieces &p, int i) {
  u32 to = s.set(s.next + i), arrived = s.barrier(s.next + i);
  int x = p.n(i), y = p.m(i);
  barrier_expect(arrived, s.reads * PIECE_BYTES);
  if (g.grad_of) copy_box(to, maps.grad_of, x, y, arrived), to += PIECE_BYTES;
  if (g.residual) copy_box(to, maps.residual, x, y, arrived), to += PIECE_BYTES;
  if (g.accumulate) copy_box(to, maps.out, x, y, arrived);
}

// Two bf16 in one register.
DEVICE float low(u32 q) { return bits_f32(q << 16); }
DEVICE float high(u32 q) { return bits_f32(q & 0xffff0000u); }

// Where this lane addresses the first 16 columns of a piece; those of block `step` lie at this ^ step * 32.
DEVICE u32 block_of(u32 piece) {
  int lane = tid_x & 31, row = lane & 15;
  return piece + row * 128 + (((lane >> 4) ^ (row & 7)) << 4);
}

// Eight values as wgmma leaves them in 16 columns: columns 0 and 1 of row 0, of row 8; columns 8 and 9 the same.
DEVICE void store_block(u32 to, const Vec<8> &z) {
  store_matrices(to, pack_bf16(z.v[0], z.v[1]), pack_bf16(z.v[2], z.v[3]), pack_bf16(z.v[4], z.v[5]), pack_bf16(z.v[6], z.v[7]));
}
DEVICE Vec<8> load_block(u32 from) {
  u32 q[4];
  ldmatrix4(q, from);
  Vec<8> r;
#pragma unroll
  for (int i = 0; i < 4; i++) r.v[2 * i] = low(q[i]), r.v[2 * i + 1] = high(q[i]);
  return r;
}

// What this lane needs of a vector over 16 * BLOCKS columns; 0 outside.
template <int BLOCKS> struct Columns { float2v two[2 * BLOCKS]; };
template <int BLOCKS> DEVICE void load_columns(Columns<BLOCKS> &c, const Gemm &g, Any p, int n) {
  const float *from = (const float *)p + n + 2 * (tid_x & 3);
  if (!p) {
#pragma unroll
    for (int j = 0; j < 2 * BLOCKS; j++) c.two[j] = float2v{0, 0};
  } else if (n + 16 * BLOCKS <= g.n) {
#pragma unroll
    for (int j = 0; j < 2 * BLOCKS; j++) c.two[j] = *(const float2v *)(from + 8 * j);
  } else {
#pragma unroll
    for (int j = 0; j < 2 * BLOCKS; j++) c.two[j] = n + 8 * j < g.n ? *(const float2v *)(from + 8 * j) : float2v{0, 0};
  }
}
// Its element for value i of a block.
template <int BLOCKS> DEVICE float of_block(const Columns<BLOCKS> &c, int block, int i) {
  float2v q = c.two[2 * block + i / 4];
  return i & 1 ? q.y : q.x;
}

// Epilogues. All but the last have code of their own for every piece of a tile. The host sees to it that tiles of 256
// columns meet the first two only, those of 192 all but the last; those of 128 have no code for GELU of its own.
enum Kind {
  PLAIN,     // at most a bias
  LINEAR,    // gamma, row scale, residual, accumulate
  GELU,      // GELU, with or without the value before it
  GELU_GRAD, // times the gradient of GELU, accumulate
  ANY,       // in a loop over the pieces, see finish_any
};
template <int TILE_N> DEVICE Kind kind_of(const Gemm &g) {
  bool linear = g.gamma || g.row_scale || g.residual;
  if (TILE_N == 128 && (g.act || g.grad_of)) return ANY;
  if (g.act) return g.act == ACT_GELU && !g.grad_of && !linear && !g.accumulate ? GELU : ANY;
  if (g.pre) return ANY;
  if (g.grad_of) return g.act_grad == ACT_GELU && !linear ? GELU_GRAD : ANY;
  return linear || g.accumulate ? LINEAR : PLAIN;
}

// Whether an epilogue may read matrices.
constexpr __attribute__((device)) bool may_read(Kind k) { return k != PLAIN && k != GELU; }

// Hands a piece of the output to the copy engine once all lanes have laid it out.
template <Kind KIND> DEVICE void hand_over(const Gemm &g, const Maps &maps, const Sets &s, u32 set, int m, int n) {
  fence_async();
  sync_warp();
  if ((tid_x & 31) == 0) {
    if ((KIND == GELU || KIND == ANY) && g.pre) store_box(maps.pre, n, m, s.before(set));
    store_box(maps.out, n, m, s.result(set));
    store_commit();
  }
}

// Waits until piece `done` of this tile can be worked on: what it reads has arrived, or its set has been given back.
template <Kind KIND> DEVICE void begin_piece(const Sets &s, int done) {
  if (may_read(KIND) && s.reads)
    barrier_wait(s.barrier(s.next + done), s.parity(s.next + done));
  else if ((tid_x & 31) == 0)
    wait_for_sets(s.count - 1);
  sync_warp();
}

// After piece `done`: the set just stored, or with four sets the one before, which need not be waited for as long, is
// filled again.
DEVICE void ask_again(const Gemm &g, const Maps &maps, const Sets &s, const Pieces &p, int done) {
  if (!s.reads || (tid_x & 31)) return;
  int lag = s.count == 4 ? 1 : 0, i = done - lag + s.count;
  wait_for_sets(lag);
  if (done >= lag && i < p.all) ask(g, maps, s, p, i);
}

// The factors of this lane's two rows.
struct Rows { float v[2]; };
DEVICE Rows rows_of(const Gemm &g, int m) {
  Rows r = {{1, 1}};
  if (g.row_scale) {
#pragma unroll
    for (int h = 0; h < 2; h++)
      if (int row = m + h * 8 + ((tid_x & 31) >> 2); row < g.m) r.v[h] = at(g.row_scale, row);
  }
  return r;
}

// Accumulator i of piece c.
template <int TILE_N> DEVICE float &at_piece(Accumulators<TILE_N> &acc, int c, int i) {
  constexpr int across = V4<TILE_N>::across;
  return acc[c / across][c % across * 32 + i];
}

template <int TILE_N, Kind KIND> DEVICE void finish(const Gemm &g, const Maps &maps, Sets s, const Pieces &p, Accumulators<TILE_N> &acc) {
  constexpr int across = V4<TILE_N>::across;
  if (KIND == PLAIN) s.reads = 0, s.size = 1, s.count = V4<TILE_N>::pieces;
  if (KIND == GELU) s.reads = 0, s.size = 2, s.count = V4<TILE_N>::pieces / 2;
#pragma unroll
  for (int c = 0; c < halves<TILE_N> * across; c++) {
    int m = p.m0 + c / across * 64, n = p.n0 + c % across * 64, done = c / across * p.across + c % across;
    if (m >= g.m || n >= g.n) continue;
    constexpr int ahead = KIND == PLAIN || KIND == GELU ? 4 : KIND == LINEAR ? 2 : 1; // blocks whose bias is loaded together
    Columns<ahead> bias;
    Rows scale;
    Columns<1> gamma;
    if (KIND == LINEAR) scale = rows_of(g, m);
    begin_piece<KIND>(s, done);
    u32 set = s.set(s.next + done), to = block_of(s.result(set));
#pragma unroll
    for (int step = 0; step < 4; step++) {
      if (step % ahead == 0) load_columns(bias, g, g.bias, n + step * 16);
      Vec<8> z;
#pragma unroll
      for (int i = 0; i < 8; i++) z.v[i] = fma_(at_piece<TILE_N>(acc, c, step * 8 + i), g.alpha, of_block(bias, step % ahead, i));
      if (KIND == GELU) {
        if (g.pre) store_block(block_of(s.before(set)) ^ step * 32, z);
#pragma unroll
        for (int i = 0; i < 8; i++) z.v[i] = activate(ACT_GELU, z.v[i]);
      }
      if (KIND == GELU_GRAD) {
        Vec<8> x = load_block(block_of(set) ^ step * 32);
#pragma unroll
        for (int i = 0; i < 8; i++) z.v[i] *= activate_grad(ACT_GELU, x.v[i]);
      }
      if (KIND == LINEAR) {
        if (g.gamma) {
          load_columns(gamma, g, g.gamma, n + step * 16);
#pragma unroll
          for (int i = 0; i < 8; i++) z.v[i] *= of_block(gamma, 0, i);
        }
#pragma unroll
        for (int i = 0; i < 8; i++) z.v[i] *= scale.v[i / 2 & 1];
        if (g.residual) {
          Vec<8> x = load_block(block_of(set) ^ step * 32);
#pragma unroll
          for (int i = 0; i < 8; i++) z.v[i] += x.v[i];
        }
      }
      if (may_read(KIND) && g.accumulate) {
        Vec<8> x = load_block(to ^ step * 32);
#pragma unroll
        for (int i = 0; i < 8; i++) z.v[i] += x.v[i];
      }
      store_block(to ^ step * 32, z);
    }
    hand_over<KIND>(g, maps, s, set, m, n);
    if (may_read(KIND)) ask_again(g, maps, s, p, done);
  }
}

// Any epilogue. The code is there once: each round finishes the first piece in four blocks, then the others move up.
template <int TILE_N> DEVICE void finish_any(const Gemm &g, const Maps &maps, const Sets &s, const Pieces &p, Accumulators<TILE_N> &acc) {
  constexpr int across = V4<TILE_N>::across, all = halves<TILE_N> * across;
  int lane = tid_x & 31, done = 0;
#pragma unroll 1
  for (int c = 0; c < all; c++) {
    int m = p.m0 + (c >= across ? 64 : 0), n = p.n0 + (c >= across ? c - across : c) * 64;
    if (m < g.m && n < g.n) {
      begin_piece<ANY>(s, done);
      u32 set = s.set(s.next + done);
      Rows scale = rows_of(g, m);
#pragma unroll 1
      for (int step = 0; step < 4; step++) {
        auto of_columns = [&](Any p, int i) __attribute__((always_inline)) {
          int col = n + step * 16 + 2 * (lane & 3) + i / 4 * 8 + (i & 1);
          return col < g.n ? ((const float *)p)[col] : 0.0f;
        };
        u32 from = block_of(set) ^ step * 32;
        Vec<8> z[1];
#pragma unroll
        for (int i = 0; i < 8; i++) z[0].v[i] = at_piece<TILE_N>(acc, 0, i) * g.alpha;
        if (g.bias) {
#pragma unroll
          for (int i = 0; i < 8; i++) z[0].v[i] += of_columns(g.bias, i);
        }
        if (g.pre) store_block(block_of(s.before(set)) ^ step * 32, z[0]);
        switch (g.act) {
        case ACT_GELU: activate_rows<ACT_GELU>(z); break;
        case ACT_GELU_TANH: activate_rows<ACT_GELU_TANH>(z); break;
        case ACT_QUICK_GELU: activate_rows<ACT_QUICK_GELU>(z); break;
        case ACT_SILU: activate_rows<ACT_SILU>(z); break;
        case ACT_RELU: activate_rows<ACT_RELU>(z); break;
        case ACT_TANH: activate_rows<ACT_TANH>(z); break;
        }
        if (g.grad_of) {
          Vec<8> x[1] = {load_block(from)};
          from += PIECE_BYTES;
          switch (g.act_grad) {
          case ACT_GELU: activate_grad_rows<ACT_GELU>(z, x); break;
          case ACT_GELU_TANH: activate_grad_rows<ACT_GELU_TANH>(z, x); break;
          case ACT_QUICK_GELU: activate_grad_rows<ACT_QUICK_GELU>(z, x); break;
          case ACT_SILU: activate_grad_rows<ACT_SILU>(z, x); break;
          case ACT_RELU: activate_grad_rows<ACT_RELU>(z, x); break;
          case ACT_TANH: activate_grad_rows<ACT_TANH>(z, x); break;
          }
        }
        if (g.gamma) {
#pragma unroll
          for (int i = 0; i < 8; i++) z[0].v[i] *= of_columns(g.gamma, i);
        }
#pragma unroll
        for (int i = 0; i < 8; i++) z[0].v[i] *= scale.v[i / 2 & 1];
#pragma unroll 1
        for (int k = (g.residual != 0) + (g.accumulate != 0); k > 0; k--, from += PIECE_BYTES) {
          Vec<8> x = load_block(from);
#pragma unroll
          for (int i = 0; i < 8; i++) z[0].v[i] += x.v[i];
        }
        store_block(block_of(s.result(set)) ^ step * 32, z[0]);
#pragma unroll
        for (int i = 0; i < 24; i++) at_piece<TILE_N>(acc, 0, i) = at_piece<TILE_N>(acc, 0, i + 8);
      }
      hand_over<ANY>(g, maps, s, set, m, n);
      ask_again(g, maps, s, p, done);
      done++;
    }
#pragma unroll
    for (int i = 0; i < 32; i++) {
#pragma unroll
      for (int k = 0; k + 1 < all; k++) at_piece<TILE_N>(acc, k, i) = at_piece<TILE_N>(acc, k + 1, i);
      at_piece<TILE_N>(acc, all - 1, i) = 0;
    }
  }
}

// A part of a sum over k. Four lanes store a sector.
template <int TILE_N> DEVICE void store_part(const Gemm &g, int split, int m0, int n0, Accumulators<TILE_N> &acc) {
  int lane = tid_x & 31;
#pragma unroll
  for (int half = 0; half < halves<TILE_N>; half++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      int m = m0 + half * 64 + h * 8 + (lane >> 2), n = n0 + 2 * (lane & 3);
      float *to = g.partial + ((i64)split * g.m + m) * g.n + n;
      if (m >= g.m) continue;
#pragma unroll
      for (int j = 0; j < TILE_N / 8; j++)
        if (n + 8 * j < g.n) *(float2v *)(to + 8 * j) = float2v{acc[half][4 * j + 2 * h], acc[half][4 * j + 2 * h + 1]};
    }
}

template <int TILE_N> DEVICE void consume(const Gemm &g, const Maps &maps, const typename V4<TILE_N>::ring &ring, int consumer, int items, int tiles_m, int tiles_n) {
  constexpr bool together = halves<TILE_N> == 1;
  int lane = tid_x & 31, warp = (tid_x >> 5) & 3, rows = warp * 16 + (together ? consumer * 64 : 0);
  int reads = (g.grad_of != 0) + (g.residual != 0) + (g.accumulate != 0), size = max_(reads, 1) + (g.pre || kind_of<TILE_N>(g) == GELU);
  int count = size == 1 ? V4<TILE_N>::pieces : size == 2 ? V4<TILE_N>::pieces / 2 : 1;
  // All of it in one register while a tile is multiplied.
  u32 packed = reads | size << 4 | count << 8 | (int)kind_of<TILE_N>(g) << 12, next = 0;
  auto unpack_sets = [&]() __attribute__((always_inline)) {
    asm volatile("" : "+r"(packed));
    int index = consumer * 4 + warp;
    Sets s;
    s.base = ring.base + ring.scratch + index * V4<TILE_N>::pieces * PIECE_BYTES;
    s.arrived = ring.base + V4<TILE_N>::arrived + index * 4 * 8;
    s.reads = packed & 15, s.size = packed >> 4 & 15, s.count = packed >> 8 & 15, s.next = next;
    return s;
  };
  // Both consumers take every item of the block, or each every other; `at` counts the steps of those left out too.
  int first = block_x, stride = grid_x;
  u32 at = 0;
  if (!together) {
    if (consumer) at = steps_of(g, first, tiles_m * tiles_n), first += grid_x;
    stride *= 2;
  }
#pragma unroll 1
  for (int i = first; i < items; i += stride) {
    int steps = steps_of(g, i, tiles_m * tiles_n);
    Accumulators<TILE_N> acc;
    if (!g.partial && (packed & 15) && lane == 0) {
      Sets s = unpack_sets();
      Item t = item<TILE_N>(g, i, tiles_m, tiles_n);
      Pieces p = pieces_of<TILE_N>(g, t.m0 + rows, t.n0);
      store_wait_read<0>();
#pragma unroll 1
      for (int k = 0; k < min_(s.count, p.all); k++) ask(g, maps, s, p, k);
    }
    sync_warp();
    multiply(g, acc, ring, at, steps, consumer, (i / grid_x) >> 1);
    at += steps;
    if (!together) at += steps_of(g, i + grid_x, tiles_m * tiles_n);
    asm volatile("" : "+r"(i)); // what follows from it is computed again: accumulators leave no registers to keep it in
    Item t = item<TILE_N>(g, i, tiles_m, tiles_n);
    int m0 = t.m0 + rows;
    Pieces p = pieces_of<TILE_N>(g, m0, t.n0);
    Sets s = unpack_sets();
    next += p.all;
    if (g.partial) {
      store_part<TILE_N>(g, t.split, m0, t.n0, acc);
      continue;
    }
    switch (packed >> 12) {
    case PLAIN: finish<TILE_N, PLAIN>(g, maps, s, p, acc); break;
    case LINEAR: finish<TILE_N, LINEAR>(g, maps, s, p, acc); break;
    case GELU:
      if (TILE_N == 192) finish<TILE_N, GELU>(g, maps, s, p, acc);
      break;
    case GELU_GRAD:
      if (TILE_N == 192) finish<TILE_N, GELU_GRAD>(g, maps, s, p, acc);
      break;
    case ANY:
      if (TILE_N == 128) finish_any<TILE_N>(g, maps, s, p, acc);
    }
  }
  if (lane == 0) store_wait_read<0>(); // shared memory stays until the last store has read it
}

template <int TILE_N> DEVICE void gemm_v4(const Gemm &g, const Maps &maps) {
  extern SHARED __attribute__((aligned(1024))) char tiles[];
  typename V4<TILE_N>::ring ring = {shared_address(tiles)};
  if (tid_x == 0) {
#pragma unroll 1
    for (u32 s = 0; s < ring.stages; s++) {
      barrier_init(ring.full(s), 1);
      barrier_init(ring.empty(s), ring.readers);
    }
    barrier_init(ring.turn(0), 4);
    barrier_init(ring.turn(1), 4);
#pragma unroll 1
    for (int i = 0; i < 8 * 4; i++) barrier_init(ring.base + V4<TILE_N>::arrived + i * 8, 1);
    barrier_init_done();
  }
  sync_block();
  int tiles_m = (g.m + TILE_M - 1) / TILE_M, tiles_n = (g.n + TILE_N - 1) / TILE_N;
  int items = tiles_m * tiles_n * ((g.k + g.k_split - 1) / g.k_split);
  int group = first_lane_value(tid_x >> 7); // the assembler then knows that all lanes take the same way
  if (group == 0) {
    registers_down<24>();
    if (tid_x == 0) produce(g, ring, maps.a, maps.b, items, tiles_m, tiles_n);
  } else {
    registers_up<240>();
    consume<TILE_N>(g, maps, ring, group - 1, items, tiles_m, tiles_n);
  }
}

// clang would copy a by-value map to local memory; the copy engine needs the parameter itself.
#define MAP(N, i, field) \
  asm("{\n.reg .b64 t;\nmov.b64 t, gemm_v4_" #N "_param_" #i ";\ncvta.param.u64 %0, t;\n}" : "=l"(maps.field));
#define GEMM_V4(N) \
  KERNEL THREADS_ONE_BLOCK(384) void gemm_v4_##N(TensorMap a, TensorMap b, TensorMap out, TensorMap pre, TensorMap grad_of, TensorMap residual, Gemm g) { \
    Maps maps; \
    MAP(N, 0, a) MAP(N, 1, b) MAP(N, 2, out) MAP(N, 3, pre) MAP(N, 4, grad_of) MAP(N, 5, residual) \
    gemm_v4<N>(g, maps); \
  }
GEMM_V4(256)
GEMM_V4(192)
GEMM_V4(128)
