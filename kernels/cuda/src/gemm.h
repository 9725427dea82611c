// What all GEMM kernels share: the argument block and the epilogue. The formula is that of kernels.Gemm.
#pragma once
#include "prelude.h"

struct Gemm { // mirrored by gemm.go
  const void *a, *b;
  Any out, pre, grad_of, residual, bias, gamma, row_scale;
  float *partial; // split-K: raw sums [splits, m, n]
  int m, n, k;
  int lda, ldb, ldo; // elements between rows in memory
  int trans_a, trans_b;
  int act, act_grad, accumulate, k_split;
  float alpha;
  int wide; // columns come in fours and every address is a multiple of four elements
};

// The kinds of activation are told apart outside the loops over elements.
template <int ACT, int N, int R> DEVICE void activate_rows(Vec<N> (&z)[R]) {
#pragma unroll
  for (int i = 0; i < R; i++)
#pragma unroll
    for (int j = 0; j < N; j++) z[i].v[j] = activate(ACT, z[i].v[j]);
}
template <int ACT, int N, int R> DEVICE void activate_grad_rows(Vec<N> (&z)[R], const Vec<N> (&x)[R]) {
#pragma unroll
  for (int i = 0; i < R; i++)
#pragma unroll
    for (int j = 0; j < N; j++) z[i].v[j] *= activate_grad(ACT, x[i].v[j]);
}

// Finishes N neighbouring columns of R rows that lie STEP rows apart; rows from g.m on are left out. With N = 4
// every address is a multiple of four elements. All loads of an operand are asked for before the first is used: they
// come from far memory, and nothing else hides that here.
template <int N, int R, int STEP> DEVICE void epilogue(const Gemm &g, int m, int n, Vec<N> (&z)[R]) {
  i64 where[R];
  bool in[R];
#pragma unroll
  for (int i = 0; i < R; i++) {
    in[i] = m + i * STEP < g.m;
    where[i] = (i64)(m + i * STEP) * g.ldo + n;
  }
  auto load_rows = [&](Any p, Vec<N> (&x)[R]) {
#pragma unroll
    for (int i = 0; i < R; i++)
#pragma unroll
      for (int j = 0; j < N; j++) x[i].v[j] = 0;
    if (p & 1) {
#pragma unroll
      for (int i = 0; i < R; i++)
        if (in[i]) x[i] = load_vec<N>((const bf16 *)(p - 1) + where[i]);
    } else {
#pragma unroll
      for (int i = 0; i < R; i++)
        if (in[i]) x[i] = load_vec<N>((const float *)p + where[i]);
    }
  };
  auto store_rows = [&](Any p) {
    if (p & 1) {
#pragma unroll
      for (int i = 0; i < R; i++)
        if (in[i]) store_vec<N>((bf16 *)(p - 1) + where[i], z[i]);
    } else {
#pragma unroll
      for (int i = 0; i < R; i++)
        if (in[i]) store_vec<N>((float *)p + where[i], z[i]);
    }
  };
  auto add = [&](const Vec<N> (&x)[R]) {
#pragma unroll
    for (int i = 0; i < R; i++)
#pragma unroll
      for (int j = 0; j < N; j++) z[i].v[j] += x[i].v[j];
  };

#pragma unroll
  for (int i = 0; i < R; i++)
#pragma unroll
    for (int j = 0; j < N; j++) z[i].v[j] *= g.alpha;
  if (g.bias) {
    Vec<N> b = at_vec<N>(g.bias, n);
#pragma unroll
    for (int i = 0; i < R; i++)
#pragma unroll
      for (int j = 0; j < N; j++) z[i].v[j] += b.v[j];
  }
  if (g.pre) store_rows(g.pre);
  switch (g.act) {
  case ACT_GELU: activate_rows<ACT_GELU>(z); break;
  case ACT_GELU_TANH: activate_rows<ACT_GELU_TANH>(z); break;
  case ACT_QUICK_GELU: activate_rows<ACT_QUICK_GELU>(z); break;
  case ACT_SILU: activate_rows<ACT_SILU>(z); break;
  case ACT_RELU: activate_rows<ACT_RELU>(z); break;
  case ACT_TANH: activate_rows<ACT_TANH>(z); break;
  }
  if (g.grad_of) {
    Vec<N> x[R];
    load_rows(g.grad_of, x);
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
    Vec<N> w = at_vec<N>(g.gamma, n);
#pragma unroll
    for (int i = 0; i < R; i++)
#pragma unroll
      for (int j = 0; j < N; j++) z[i].v[j] *= w.v[j];
  }
  if (g.row_scale) {
#pragma unroll
    for (int i = 0; i < R; i++) {
      float s = in[i] ? at(g.row_scale, m + i * STEP) : 0.0f;
#pragma unroll
      for (int j = 0; j < N; j++) z[i].v[j] *= s;
    }
  }
  if (g.residual) {
    Vec<N> r[R];
    load_rows(g.residual, r);
    add(r);
  }
  if (g.accumulate) {
    Vec<N> o[R];
    load_rows(g.out, o);
    add(o);
  }
  store_rows(g.out);
}

// Finishes four neighbouring columns of R rows as far as they exist, or keeps them as part `split` of a sum over k.
// Columns from g.n on are left out; the caller has seen that n is below it.
template <int R, int STEP> DEVICE void finish(const Gemm &g, int split, int m, int n, Vec<4> (&z)[R]) {
  if (g.partial) {
#pragma unroll
    for (int i = 0; i < R; i++) {
      if (m + i * STEP >= g.m) continue;
      float *to = g.partial + ((i64)split * g.m + m + i * STEP) * g.n + n;
      if ((g.n & 3) == 0) {
        store_vec<4>(to, z[i]);
      } else {
#pragma unroll
        for (int j = 0; j < 4; j++)
          if (n + j < g.n) to[j] = z[i].v[j];
      }
    }
  } else if (g.wide) {
    epilogue<4, R, STEP>(g, m, n, z);
  } else {
#pragma unroll 1
    for (int j = 0; j < 4 && n + j < g.n; j++) {
      Vec<1> o[R];
#pragma unroll
      for (int i = 0; i < R; i++) o[i].v[0] = j == 0 ? z[i].v[0] : j == 1 ? z[i].v[1] : j == 2 ? z[i].v[2] : z[i].v[3];
      epilogue<1, R, STEP>(g, m, n + j, o);
    }
  }
}
