// The instructions of sm_90a that feed and run the tensor cores: barriers that count arrivals and bytes in shared
// memory, copies of boxes of a matrix by the copy engine, and products by a warpgroup (four warps).
#pragma once
#include "tensorcore.h"

#define THREADS_ONE_BLOCK(n) __attribute__((launch_bounds(n, 1)))

// A matrix as the copy engine sees it: 128 bytes that the driver encodes.
struct __attribute__((aligned(64))) TensorMap { u64 opaque[16]; };

// Lane 0's value.
DEVICE int first_lane_value(int v) {
  int r;
  asm volatile("shfl.sync.idx.b32 %0, %1, 0, 31, -1;" : "=r"(r) : "r"(v));
  return r;
}

// ---- barriers in shared memory ----

DEVICE void barrier_init(u32 b, int arrivals) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(b), "r"(arrivals) : "memory"); }
// Shows the initialised barriers of this thread to the copy engine.
DEVICE void barrier_init_done() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
DEVICE void barrier_arrive(u32 b) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(b) : "memory"); }
DEVICE void barrier_expect(u32 b, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(b), "r"(bytes) : "memory");
}
// Waits until the phase of the given parity is complete. On a fresh barrier the phase of parity 1 is.
DEVICE void barrier_wait(u32 b, u32 parity) {
  u32 done;
  do
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.b32 %0, 1, 0, p;\n}" : "=r"(done) : "r"(b), "r"(parity) : "memory");
  while (!done);
}

// ---- copies ----

// Asks for the box of a map whose first element is in column x of row y; its bytes are counted by the barrier.
DEVICE void copy_box(u32 to, u64 map, int x, int y, u32 barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(to), "l"(map), "r"(x), "r"(y), "r"(barrier) : "memory");
}
DEVICE void prefetch_map(u64 map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }
DEVICE void prefetch_l2(const void *p) { asm volatile("prefetch.global.L2 [%0];" ::"l"(p)); }

// The box of a map from shared memory, which was written by ordinary stores. Writers show them with fence_async first.
DEVICE void store_box(u64 map, int x, int y, u32 from) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];" ::"l"(map), "r"(x), "r"(y), "r"(from) : "memory");
}
DEVICE void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
DEVICE void store_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// Waits until all but the N youngest groups of this thread's stores have been read from shared memory.
template <int N> DEVICE void store_wait_read() { asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory"); }

// The inverse of ldmatrix4: lane l addresses row l%8 of matrix l/8, and holds two neighbouring elements of row l/4 of each.
DEVICE void store_matrices(u32 to, u32 a, u32 b, u32 c, u32 d) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}

// ---- registers ----

template <int N> DEVICE void registers_down() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N> DEVICE void registers_up() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }

// ---- warpgroup products ----

// Where wgmma finds an operand in shared memory: pieces of 8 rows of 128 bytes that the copy engine has permuted.
// OUTER false: rows are m (or n) and hold 64 k; the next 8 rows follow. OUTER true: rows are k and hold 64 m (or
// n); the next 8 k follow, and the next 64 m after all 64 k. Fields of the PTX manual, matrix descriptor: address
// / 16, leading offset / 16 at bit 16, stride offset / 16 at bit 32, 128-byte swizzle at bit 62.
template <bool OUTER> DEVICE u64 descriptor(u32 address) {
  u32 lo = (address >> 4) | (OUTER ? (64 * 128) >> 4 : 1) << 16;
  return (u64)1 << 62 | (u64)(1024 >> 4) << 32 | lo;
}

DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> DEVICE void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }

#define R4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define R16(i) R4(i), R4(i + 4), R4(i + 8), R4(i + 12)
#define R64(i) R16(i), R16(i + 16), R16(i + 32), R16(i + 48)

// d += op(A)·op(B) of 64 rows, N columns and 16 k, where A_OUTER and B_OUTER are those of the descriptors. d lies as
// in the manual: for row h*8 + lane/4 of the warp's 16 rows, columns 8j + 2(lane%4) and the next are d[4j + 2h] and
// d[4j + 2h + 1]. With keep 0 d is overwritten.
template <bool A_OUTER, bool B_OUTER> DEVICE void wgmma(float (&d)[64], u64 a, u64 b, int keep) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.s32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
      "}, %64, %65, p, 1, 1, %67, %68;\n}"
      : R64(0)
      : "l"(a), "l"(b), "r"(keep), "n"(A_OUTER ? 1 : 0), "n"(B_OUTER ? 1 : 0));
}
template <bool A_OUTER, bool B_OUTER> DEVICE void wgmma(float (&d)[96], u64 a, u64 b, int keep) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.s32 p, %98, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 {"
      "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
      "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
      "}, %96, %97, p, 1, 1, %99, %100;\n}"
      : R64(0), R16(64), R16(80)
      : "l"(a), "l"(b), "r"(keep), "n"(A_OUTER ? 1 : 0), "n"(B_OUTER ? 1 : 0));
}
template <bool A_OUTER, bool B_OUTER> DEVICE void wgmma(float (&d)[128], u64 a, u64 b, int keep) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.s32 p, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
      "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
      "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"
      "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
      "}, %128, %129, p, 1, 1, %131, %132;\n}"
      : R64(0), R64(64)
      : "l"(a), "l"(b), "r"(keep), "n"(A_OUTER ? 1 : 0), "n"(B_OUTER ? 1 : 0));
}

// Before the first product that overwrites d: what d held is forgotten here, so that the compiler moves nothing into its
// registers after the fence.
#define W4(i) "=f"(d[i]), "=f"(d[i + 1]), "=f"(d[i + 2]), "=f"(d[i + 3])
#define W16(i) W4(i), W4(i + 4), W4(i + 8), W4(i + 12)
#define W64(i) W16(i), W16(i + 16), W16(i + 32), W16(i + 48)
DEVICE void wgmma_forget(float (&d)[64]) { asm volatile("" : W64(0)); }
DEVICE void wgmma_forget(float (&d)[96]) { asm volatile("" : W64(0), W16(64), W16(80)); }
DEVICE void wgmma_forget(float (&d)[128]) { asm volatile("" : W64(0), W64(64)); }

// After the last wait: what is read from d from here on is not moved ahead of it.
DEVICE void wgmma_done(float (&d)[64]) { asm volatile("" : R64(0)::"memory"); }
DEVICE void wgmma_done(float (&d)[96]) { asm volatile("" : R64(0), R16(64), R16(80)::"memory"); }
DEVICE void wgmma_done(float (&d)[128]) { asm volatile("" : R64(0), R64(64)::"memory"); }
#undef R4
#undef R16
#undef R64
#undef W4
#undef W16
#undef W64
