// What every kernel file needs and CUDA's own headers would bring: qualifiers, special registers, types, warp
// and block reductions, Philox, and functions built on the approximate instructions of the hardware. The files
// are compiled freestanding by clang: no CUDA toolkit, no device library.
#pragma once

#define KERNEL extern "C" __attribute__((global))
#define DEVICE static __attribute__((device)) inline __attribute__((always_inline))
#define SHARED __attribute__((shared))
#define THREADS(n) __attribute__((launch_bounds(n)))
#define THREADS_BLOCKS(n, blocks) __attribute__((launch_bounds(n, blocks))) // registers are to leave room for so many blocks

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
struct bf16 { u16 bits; };

#define tid_x ((int)__nvvm_read_ptx_sreg_tid_x())
#define tid_y ((int)__nvvm_read_ptx_sreg_tid_y())
#define dim_x ((int)__nvvm_read_ptx_sreg_ntid_x())
#define dim_y ((int)__nvvm_read_ptx_sreg_ntid_y())
#define block_x ((int)__nvvm_read_ptx_sreg_ctaid_x())
#define block_y ((int)__nvvm_read_ptx_sreg_ctaid_y())
#define block_z ((int)__nvvm_read_ptx_sreg_ctaid_z())
#define grid_x ((int)__nvvm_read_ptx_sreg_nctaid_x())
#define grid_y ((int)__nvvm_read_ptx_sreg_nctaid_y())

#define FULL 0xffffffffu
#define INF __builtin_inff()

DEVICE void sync_block() { __syncthreads(); }
DEVICE void sync_warp() { asm volatile("bar.warp.sync -1;" ::: "memory"); }

DEVICE float bits_f32(u32 b) { return __builtin_bit_cast(float, b); }
DEVICE u32 f32_bits(float f) { return __builtin_bit_cast(u32, f); }

DEVICE float to_f32(float v) { return v; }
DEVICE float to_f32(bf16 v) { return bits_f32((u32)v.bits << 16); }

// Two floats to a packed pair of bf16, lo in the low half, rounded to nearest even.
DEVICE u32 pack_bf16(float lo, float hi) {
  u32 r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}

DEVICE void from_f32(float &d, float v) { d = v; }
DEVICE void from_f32(bf16 &d, float v) { d.bits = (u16)pack_bf16(v, 0.0f); }

template <class T> DEVICE float load(const T *p) { return to_f32(*p); }
template <class T> DEVICE void store(T *p, float v) { T t; from_f32(t, v); *p = t; }

// Vectors of N consecutive elements in one access: 16 bytes of f32, 8 bytes of bf16 at N = 4; 16 bytes of bf16 at N = 8.
typedef float float4v __attribute__((ext_vector_type(4)));
typedef float float2v __attribute__((ext_vector_type(2)));
typedef u32 uint2v __attribute__((ext_vector_type(2)));
typedef u32 uint4v __attribute__((ext_vector_type(4)));

template <int N> struct Vec { float v[N]; };

// 16 bytes as they lie in memory.
template <class T> DEVICE Vec<16 / sizeof(T)> unpack(uint4v q) {
  Vec<16 / sizeof(T)> r;
  for (int j = 0; j < 4; j++) {
    if constexpr (sizeof(T) == 4)
      r.v[j] = bits_f32(q[j]);
    else
      r.v[2 * j] = bits_f32(q[j] << 16), r.v[2 * j + 1] = bits_f32(q[j] & 0xffff0000u);
  }
  return r;
}
// What was unpacked from q before is not kept in registers for later.
DEVICE void unpack_again(uint4v &q) { asm volatile("" : "+r"(q.x), "+r"(q.y), "+r"(q.z), "+r"(q.w)); }

template <int N> DEVICE Vec<N> load_vec(const float *p) {
  Vec<N> r;
  if constexpr (N == 4) {
    float4v q = *(const float4v *)p;
    r.v[0] = q.x, r.v[1] = q.y, r.v[2] = q.z, r.v[3] = q.w;
  } else {
    r.v[0] = *p;
  }
  return r;
}
template <int N> DEVICE Vec<N> load_vec(const bf16 *p) {
  Vec<N> r;
  if constexpr (N == 4) {
    uint2v q = *(const uint2v *)p;
    r.v[0] = bits_f32(q.x << 16), r.v[1] = bits_f32(q.x & 0xffff0000u);
    r.v[2] = bits_f32(q.y << 16), r.v[3] = bits_f32(q.y & 0xffff0000u);
  } else {
    r.v[0] = to_f32(*p);
  }
  return r;
}
template <int N> DEVICE void store_vec(float *p, const Vec<N> &a) {
  if constexpr (N == 4) {
    float4v q = {a.v[0], a.v[1], a.v[2], a.v[3]};
    *(float4v *)p = q;
  } else {
    *p = a.v[0];
  }
}
template <int N> DEVICE void store_vec(bf16 *p, const Vec<N> &a) {
  if constexpr (N == 4) {
    uint2v q = {pack_bf16(a.v[0], a.v[1]), pack_bf16(a.v[2], a.v[3])};
    *(uint2v *)p = q;
  } else if constexpr (N == 8) {
    uint4v q = {pack_bf16(a.v[0], a.v[1]), pack_bf16(a.v[2], a.v[3]), pack_bf16(a.v[4], a.v[5]), pack_bf16(a.v[6], a.v[7])};
    *(uint4v *)p = q;
  } else {
    store(p, a.v[0]);
  }
}

// A vector, or a matrix off the hot paths, that may be f32 or bf16: the lowest bit of its address says bf16.
typedef u64 Any;
DEVICE float at(Any p, i64 i) { return p & 1 ? load((const bf16 *)(p - 1) + i) : load((const float *)p + i); }
DEVICE void put(Any p, i64 i, float v) {
  if (p & 1)
    store((bf16 *)(p - 1) + i, v);
  else
    store((float *)p + i, v);
}

// N neighbouring elements; the address is a multiple of N elements.
template <int N> DEVICE Vec<N> at_vec(Any p, i64 i) {
  return p & 1 ? load_vec<N>((const bf16 *)(p - 1) + i) : load_vec<N>((const float *)p + i);
}
template <int N> DEVICE void put_vec(Any p, i64 i, const Vec<N> &v) {
  if (p & 1)
    store_vec<N>((bf16 *)(p - 1) + i, v);
  else
    store_vec<N>((float *)p + i, v);
}

// ---- functions ----

DEVICE float exp2_fast(float x) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
DEVICE float log2_fast(float x) {
  float r;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
#define LOG2E 1.4426950408889634f
#define LN2 0.6931471805599453f
DEVICE float exp_(float x) { return exp2_fast(x * LOG2E); }
DEVICE float log_(float x) { return log2_fast(x) * LN2; }
// log2 of a positive, finite, normal number, within 2^-22 and the rounding of the result: lg2.approx is off by a part of
// the result, which for numbers near 2^-126 is 126 times as much.
DEVICE float log2_split(float x) {
  u32 b = f32_bits(x);
  return (float)((int)(b >> 23) - 127) + log2_fast(bits_f32((b & 0x7fffffu) | 0x3f800000u));
}
DEVICE float sqrt_(float x) {
  float r;
  asm("sqrt.rn.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
DEVICE float min_(float a, float b) { return a < b ? a : b; }
DEVICE float max_(float a, float b) { return a > b ? a : b; }
DEVICE int min_(int a, int b) { return a < b ? a : b; }
DEVICE int max_(int a, int b) { return a > b ? a : b; }
DEVICE float abs_(float a) { return __builtin_fabsf(a); }
DEVICE float fma_(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
DEVICE bool is_finite(float x) { return (f32_bits(x) & 0x7f800000u) != 0x7f800000u; }

// ---- reductions ----

DEVICE float shuffle_xor(float v, int lane) {
  float r;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, -1;" : "=f"(r) : "f"(v), "r"(lane));
  return r;
}
DEVICE int shuffle_xor(int v, int lane) {
  int r;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, -1;" : "=r"(r) : "r"(v), "r"(lane));
  return r;
}
// Bit l is the predicate of lane l.
DEVICE u32 ballot(bool p) {
  u32 r;
  asm volatile("{\n.reg .pred p;\nsetp.ne.s32 p, %1, 0;\nvote.sync.ballot.b32 %0, p, -1;\n}" : "=r"(r) : "r"((int)p));
  return r;
}
DEVICE float warp_sum(float v) {
#pragma unroll
  for (int o = 16; o > 0; o >>= 1) v += shuffle_xor(v, o);
  return v;
}
DEVICE float warp_max(float v) {
#pragma unroll
  for (int o = 16; o > 0; o >>= 1) v = max_(v, shuffle_xor(v, o));
  return v;
}

// A group is the threads of one row: the x dimension of the block, one warp or several. Its sum is the same for
// all of them and has one order. scratch holds 33 floats for each row of the block (y).
DEVICE float group_sum(float v, float *scratch) {
  v = warp_sum(v);
  if (dim_x == 32) return v;
  float *s = scratch + 33 * tid_y;
  if ((tid_x & 31) == 0) s[tid_x >> 5] = v;
  sync_block();
  float t = 0;
  for (int i = 0; i < (dim_x >> 5); i++) t += s[i];
  sync_block();
  return t;
}
DEVICE float group_max(float v, float *scratch) {
  v = warp_max(v);
  if (dim_x == 32) return v;
  float *s = scratch + 33 * tid_y;
  if ((tid_x & 31) == 0) s[tid_x >> 5] = v;
  sync_block();
  float t = s[0];
  for (int i = 1; i < (dim_x >> 5); i++) t = max_(t, s[i]);
  sync_block();
  return t;
}

// ---- random numbers: Philox-4x32-10, the same words as the host's tensor.Philox ----

struct Words { u32 w[4]; };

DEVICE u32 mul_hi(u32 a, u32 b) { return (u32)(((u64)a * b) >> 32); }

DEVICE Words philox(u64 seed, u32 c0, u32 c1, u32 c2, u32 c3) {
  u32 k0 = (u32)seed, k1 = (u32)(seed >> 32);
#pragma unroll
  for (int i = 0; i < 10; i++) {
    u32 h0 = mul_hi(0xD2511F53u, c0), l0 = 0xD2511F53u * c0;
    u32 h1 = mul_hi(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2;
    c0 = h1 ^ c1 ^ k0, c1 = l1, c2 = h0 ^ c3 ^ k1, c3 = l0;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  Words r;
  r.w[0] = c0, r.w[1] = c1, r.w[2] = c2, r.w[3] = c3;
  return r;
}

// ---- activations; the numbers are those of kernels.Activation ----

#define ACT_NONE 0
#define ACT_GELU 1
#define ACT_GELU_TANH 2
#define ACT_QUICK_GELU 3
#define ACT_SILU 4
#define ACT_RELU 5
#define ACT_TANH 6

DEVICE float sigmoid_(float x) { return 1.0f / (1.0f + exp_(-x)); }

// tanh by the exponential, exact to a few ulp; tanh.approx has only 11 bits.
DEVICE float tanh_(float x) {
  float a = abs_(x);
  if (a < 0.25f) {
    // odd Taylor polynomial: the exponential form cancels near zero
    float s = x * x;
    return x * (1.0f + s * (-0.33333333f + s * (0.13333333f + s * (-0.053968254f + s * (0.021869488f - 0.0088632355f * s)))));
  }
  float e = exp_(-2.0f * a);
  float t = (1.0f - e) / (1.0f + e);
  return x < 0 ? -t : t;
}

// The standard normal distribution function. Its tail Q(a) = 1 - cdf(a) for a >= 0 is 2^p(a) with a polynomial p that is
// fitted to log2 Q on [0, 6.5] for the least absolute error of Q (3.9e-8, 0.65 of an f32 roundoff of 1); the leading
// coefficient is negative, so that beyond the fit Q goes to 0. One exponential, no division and no branch.
DEVICE float normal_cdf(float x) {
  float a = abs_(x);
  float p = fma_(a, -2.7718916e-6f, 3.861915e-5f);
  p = fma_(p, a, -1.8254125e-4f);
  p = fma_(p, a, -1.4588282e-4f);
  p = fma_(p, a, 7.0754853e-3f);
  p = fma_(p, a, -5.2505035e-2f);
  p = fma_(p, a, -0.45920491f);
  p = fma_(p, a, -1.1511058f);
  p = fma_(p, a, -1.0f);
  float q = exp2_fast(p);
  return x < 0 ? q : 1.0f - q;
}

template <class A> DEVICE float activate(A act, float x) {
  switch (act) {
  case ACT_GELU: return x * normal_cdf(x);
  case ACT_GELU_TANH: return 0.5f * x * (1.0f + tanh_(0.7978845608028654f * (x + 0.044715f * x * x * x)));
  case ACT_QUICK_GELU: return x * sigmoid_(1.702f * x);
  case ACT_SILU: return x * sigmoid_(x);
  case ACT_RELU: return x < 0 ? 0.0f : x; // a NaN stays one
  case ACT_TANH: return tanh_(x);
  }
  return x;
}

template <class A> DEVICE float activate_grad(A act, float x) {
  switch (act) {
  case ACT_GELU: return normal_cdf(x) + x * 0.3989422804014327f * exp_(-0.5f * x * x);
  case ACT_GELU_TANH: {
    float u = 0.7978845608028654f * (x + 0.044715f * x * x * x);
    float t = tanh_(u);
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.7978845608028654f * (1.0f + 3.0f * 0.044715f * x * x);
  }
  case ACT_QUICK_GELU: {
    float s = sigmoid_(1.702f * x);
    return s + 1.702f * x * s * (1.0f - s);
  }
  case ACT_SILU: {
    float s = sigmoid_(x);
    return s + x * s * (1.0f - s);
  }
  case ACT_RELU: return x > 0 ? 1.0f : 0.0f;
  case ACT_TANH: {
    float t = tanh_(x);
    return 1.0f - t * t;
  }
  }
  return 1.0f;
}

// ---- instantiation: one entry per element type and vector width ----

#define FOR_TYPES(M) \
  M(f32, float, 1) M(f32v, float, 4) M(bf16, bf16, 1) M(bf16v, bf16, 4)
