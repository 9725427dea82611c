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
  int pad;
};

// Finishes N neighbouring columns of one row. at is the offset of the first in out, pre, grad_of and residual.
template <class O, int N> DEVICE void epilogue(const Gemm &g, int m, int n, Vec<N> acc) {
  i64 where = (i64)m * g.ldo + n;
  float rs = g.row_scale ? at(g.row_scale, m) : 1.0f;
#pragma unroll
  for (int j = 0; j < N; j++) {
    float z = acc.v[j] * g.alpha;
    if (g.bias) z += at(g.bias, n + j);
    if (g.pre) put(g.pre, where + j, z);
    if (g.act) z = activate(g.act, z);
    if (g.grad_of) z *= activate_grad(g.act_grad, at(g.grad_of, where + j));
    if (g.gamma) z *= at(g.gamma, n + j);
    acc.v[j] = z * rs;
  }
  O *out = (O *)g.out + where;
  if (g.residual) {
    Vec<N> r = load_vec<N>((const O *)g.residual + where);
#pragma unroll
    for (int j = 0; j < N; j++) acc.v[j] += r.v[j];
  }
  if (g.accumulate) {
    Vec<N> o = load_vec<N>(out);
#pragma unroll
    for (int j = 0; j < N; j++) acc.v[j] += o.v[j];
  }
  store_vec<N>(out, acc);
}
