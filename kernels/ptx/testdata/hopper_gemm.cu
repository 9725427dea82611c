// A small product c = a·b' for compute capability 9.0, to test the interpreter with everything such a kernel needs: a
// [m][k] and b [n][k] in bf16, c [m][n] in f32. A producer warpgroup lets the copy engine fill a ring of stages, two
// consumer warpgroups multiply 64 x 64 each, and the result leaves through shared memory by the copy engine. The
// instructions are written out: this file is about them. hopper_gemm.ptx is made from it by
//
//	clang-19 -x cuda --cuda-device-only -S -nocudainc -nocudalib --cuda-feature=+ptx83 --cuda-gpu-arch=sm_90a -O3 hopper_gemm.cu -o hopper_gemm.ptx
typedef unsigned int u32;
typedef unsigned long long u64;
#define DEVICE static __attribute__((device)) inline __attribute__((always_inline))

struct alignas(64) Map { u64 opaque[16]; };

constexpr int ROWS = 128, COLS = 64, DEPTH = 64, STAGES = 3;
constexpr u32 A_BYTES = ROWS * DEPTH * 2, B_BYTES = COLS * DEPTH * 2, STAGE = A_BYTES + B_BYTES, C_BYTES = 64 * 32 * 4;

DEVICE void wait(u32 bar, u32 parity) {
  asm volatile("{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@done bra.uni over;\nbra.uni again;\nover:\n}" ::"r"(bar), "r"(parity) : "memory");
}

DEVICE void load(u32 to, u64 map, int col, int row, u32 bar) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(to), "l"(map), "r"(col), "r"(row), "r"(bar) : "memory");
}

// K-major tiles with a row of 128 bytes, swizzled by 128 bytes: 1024 bytes between groups of eight rows.
DEVICE u64 descriptor(u32 at) { return (u64)(at >> 4 & 0x3fff) | 1ull << 16 | (u64)(1024 >> 4) << 32 | 1ull << 62; }

#define D8(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])

DEVICE void multiply(float (&d)[32], u64 a, u64 b, int add) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, %32, %33, p, 1, 1, 0, 0;\n}"
      : D8(0), D8(8), D8(16), D8(24)
      : "l"(a), "l"(b), "r"(add)
      : "memory");
}

extern "C" __attribute__((global)) __attribute__((launch_bounds(384, 1))) void hopper_gemm(Map, Map, Map, int m, int n, int k) {
  extern __attribute__((shared)) __attribute__((aligned(1024))) unsigned char shared[];
  __attribute__((shared)) __attribute__((aligned(8))) u64 bars[2 * STAGES];
  u64 map_a, map_b, map_c;
  asm("{\n.reg .b64 t;\nmov.b64 t, hopper_gemm_param_0;\ncvta.param.u64 %0, t;\n}" : "=l"(map_a));
  asm("{\n.reg .b64 t;\nmov.b64 t, hopper_gemm_param_1;\ncvta.param.u64 %0, t;\n}" : "=l"(map_b));
  asm("{\n.reg .b64 t;\nmov.b64 t, hopper_gemm_param_2;\ncvta.param.u64 %0, t;\n}" : "=l"(map_c));
  const u32 base = (u32)(u64)(__attribute__((address_space(3))) void *)shared;
  const u32 full = (u32)(u64)(__attribute__((address_space(3))) void *)bars, empty = full + 8 * STAGES;
  const int thread = __nvvm_read_ptx_sreg_tid_x(), group = thread / 128, lane = thread % 32;
  const int row0 = __nvvm_read_ptx_sreg_ctaid_y() * ROWS, col0 = __nvvm_read_ptx_sreg_ctaid_x() * COLS;
  const int steps = (k + DEPTH - 1) / DEPTH;

  if (thread == 0) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map_a) : "memory");
    for (int s = 0; s < STAGES; s++) {
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(full + 8 * s) : "memory");
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 2;" ::"r"(empty + 8 * s) : "memory");
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncthreads();

  if (group == 0) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (thread / 32 == 0) {
      u32 leads;
      asm volatile("{\n.reg .pred p;\nelect.sync _|p, -1;\nselp.b32 %0, 1, 0, p;\n}" : "=r"(leads));
      if (leads) {
        for (int i = 0; i < steps; i++) {
          const int s = i % STAGES;
          const u32 to = base + s * STAGE;
          wait(empty + 8 * s, (i / STAGES & 1) ^ 1);
          asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(full + 8 * s), "r"(STAGE) : "memory");
          load(to, map_a, i * DEPTH, row0, full + 8 * s);
          load(to + A_BYTES, map_b, i * DEPTH, col0, full + 8 * s);
        }
      }
    }
    return;
  }

  asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
  float d[32];
#pragma unroll
  for (int i = 0; i < 32; i++) d[i] = 0;
  for (int i = 0; i < steps; i++) {
    const int s = i % STAGES;
    const u32 at = base + s * STAGE;
    wait(full + 8 * s, i / STAGES & 1);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    for (int kk = 0; kk < DEPTH / 16; kk++)
      multiply(d, descriptor(at + (group - 1) * 64 * DEPTH * 2 + 32 * kk), descriptor(at + A_BYTES + 32 * kk), i + kk > 0);
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    if (thread % 128 == 0) asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(empty + 8 * s) : "memory");
  }

  // 64 x 64 results of the warpgroup as two unswizzled boxes of 32 columns, past the ring.
  const u32 out = base + STAGES * STAGE + (group - 1) * 2 * C_BYTES;
#pragma unroll
  for (int i = 0; i < 32; i += 2) {
    const int row = thread % 128 / 32 * 16 + lane / 4 + 8 * (i / 2 % 2), col = 8 * (i / 4) + 2 * (lane % 4);
    const u32 to = out + col / 32 * C_BYTES + (row * 32 + col % 32) * 4;
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to), "f"(d[i]), "f"(d[i + 1]) : "memory");
  }
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  asm volatile("bar.sync %0, 128;" ::"r"(group) : "memory");
  if (thread % 128 == 0) {
    for (int h = 0; h < 2; h++)
      asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];" ::"l"(map_c), "r"(col0 + 32 * h), "r"(row0 + 64 * (group - 1)), "r"(out + h * C_BYTES) : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
    asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
  }
}
