// What all GEMM kernels share: the argument block and the epilogue. The formula is that of kernels.Gemm.
#pragma once
#include "prelude.h"

struct Gemm { // mirrored by gemm.go
  const void *a, *b;
  void *out;
  Any pre, grad_of, residual, bias, gamma, row_scale;
  float *partial; // split-K: raw sums [splits, m, n]
  int m, n, k;
  int lda, ldb, ldo; // elements between rows in memory
  int trans_a, trans_b;
  int act, act_grad, accumulate, k_split;
  float alpha;
  int wide; // columns come in fours and every address is a multiple of four elements
};

// Finishes N neighbouring columns of one row. With N = 4 every address is a multiple of four elements.
template <class O, int N> DEVICE void epilogue(const Gemm &g, int m, int n, Vec<N> z) {
  i64 where = (i64)m * g.ldo + n;
#pragma unroll
  for (int j = 0; j < N; j++) z.v[j] *= g.alpha;
  if (g.bias) {
    Vec<N> b = at_vec<N>(g.bias, n);
#pragma unroll
    for (int j = 0; j < N; j++) z.v[j] += b.v[j];
  }
  if (g.pre) put_vec<N>(g.pre, where, z);
  if (g.act) {
#pragma unroll
    for (int j = 0; j < N; j++) z.v[j] = activate(g.act, z.v[j]);
  }
  if (g.grad_of) {
    Vec<N> x = at_vec<N>(g.grad_of, where);
#pragma unroll
    for (int j = 0; j < N; j++) z.v[j] *= activate_grad(g.act_grad, x.v[j]);
  }
  if (g.gamma) {
    Vec<N> w = at_vec<N>(g.gamma, n);
#pragma unroll
    for (int j = 0; j < N; j++) z.v[j] *= w.v[j];
  }
  if (g.row_scale) {
    float s = at(g.row_scale, m);
#pragma unroll
    for (int j = 0; j < N; j++) z.v[j] *= s;
  }
  O *out = (O *)g.out + where;
  if (g.residual) {
    Vec<N> r = load_vec<N>((const O *)g.residual + where);
#pragma unroll
    for (int j = 0; j < N; j++) z.v[j] += r.v[j];
  }
  if (g.accumulate) {
    Vec<N> o = load_vec<N>(out);
#pragma unroll
    for (int j = 0; j < N; j++) z.v[j] += o.v[j];
  }
  store_vec<N>(out, z);
}
