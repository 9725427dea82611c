// A CUDA driver without a device, for tests of the calls that dmx makes: "device" memory is the heap, copies and kernels
// run when they are asked for, and every call checks what a driver would: that a context is current on the thread,
// that handles are its own, that copies in a graph are one-dimensional. Parameters lie in a constant bank where ptxas
// places them, from their alignments in the PTX; a kernel reads them there, whichever way they were handed over. It can
// run three kernels: add, add_map and fault.
//
// gcc -shared -fPIC -I ../include -o libcuda.so.1 fakecuda.c

#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { invalid_value = 1, out_of_memory = 2, invalid_ptx = 218, out_of_resources = 701, no_context = 201, invalid_handle = 400, not_found = 500, illegal_address = 700, limit = 64 << 20 };

struct CUctx_st { int retained; } context;
static __thread CUcontext current;
static int live; // streams, events, graphs, host and device blocks
static size_t used;
static CUresult sticky;

#define CURRENT \
  if (current != &context) return no_context; \
  if (sticky) return sticky

// Handles carry what they are.
enum { stream_kind = 0x571, event_kind, module_kind, function_kind, graph_kind, exec_kind, node_kind };
struct CUstream_st { int kind; };
struct CUevent_st { int kind, recorded; };
enum { max_params = 8, max_functions = 8, bank_bytes = 8192 };
struct CUfunc_st {
  int kind, params;
  char name[32];
  long fixed, shared;   // bytes of shared memory: static, and the most dynamic that a launch may have
  long threads, registers; // .maxntid and .maxnreg, 0 for none
  size_t base; // of the parameters in the constant bank
  size_t at[max_params], size[max_params];
};
struct CUmod_st { int kind, functions; struct CUfunc_st f[max_functions]; };

typedef struct {
  int copy;
  CUfunction f;
  unsigned int grid, block;
  char bank[bank_bytes];
  CUDA_MEMCPY3D m;
} work;
struct CUgraphNode_st { int kind, index; CUgraph graph; };
struct CUgraph_st { int kind, n; work w[64]; struct CUgraphNode_st nodes[64]; };
struct CUgraphExec_st { int kind, n; CUgraph graph; work w[64]; };

static void *make(size_t bytes, int kind) {
  int *p = calloc(1, bytes);
  *p = kind;
  live++;
  return p;
}

static CUresult drop(void *p, int kind) {
  if (!p || *(int *)p != kind) return invalid_handle;
  live--;
  free(p);
  return 0;
}

CUresult cuInit(unsigned int flags) { return flags; }
CUresult cuDriverGetVersion(int *v) { *v = 12040; return 0; }
CUresult cuDeviceGetCount(int *n) { *n = 1; return 0; }
CUresult cuDeviceGetName(char *s, int n, CUdevice d) { strncpy(s, "fake", n); return d; }
CUresult cuDeviceTotalMem(size_t *n, CUdevice d) { *n = limit; return d; }
CUresult cuDeviceGetAttribute(int *v, CUdevice_attribute a, CUdevice d) { *v = a == 75 ? 9 : a == 76 ? 0 : (int)a; return d; }
CUresult cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d) { context.retained++; *c = &context; return d; }
CUresult cuDevicePrimaryCtxRelease(CUdevice d) { return context.retained-- == 1 && live == 0 ? d : invalid_value; }
CUresult cuCtxSetCurrent(CUcontext c) { current = c; return 0; }
CUresult cuCtxSynchronize(void) { CURRENT; return 0; }
CUresult cuGetErrorName(CUresult r, const char **s) {
  switch (r) {
  case invalid_value: *s = "CUDA_ERROR_INVALID_VALUE"; break;
  case out_of_memory: *s = "CUDA_ERROR_OUT_OF_MEMORY"; break;
  case invalid_ptx: *s = "CUDA_ERROR_INVALID_PTX"; break;
  case illegal_address: *s = "CUDA_ERROR_ILLEGAL_ADDRESS"; break;
  case out_of_resources: *s = "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"; break;
  default: *s = "CUDA_ERROR_OTHER";
  }
  return 0;
}

// Streams of dmx do not wait for the legacy default stream; the default stream itself is never used.
CUresult cuStreamCreate(CUstream *s, unsigned int flags) {
  CURRENT;
  if (flags != 1) return invalid_value;
  *s = make(sizeof **s, stream_kind);
  return 0;
}
CUresult cuStreamDestroy(CUstream s) { CURRENT; return drop(s, stream_kind); }
#define STREAM(s) \
  CURRENT; \
  if (!s || s->kind != stream_kind) return invalid_handle
CUresult cuStreamSynchronize(CUstream s) { STREAM(s); return 0; }
CUresult cuStreamWaitEvent(CUstream s, CUevent e, unsigned int flags) { STREAM(s); return e->kind == event_kind ? flags : invalid_handle; }
CUresult cuEventCreate(CUevent *e, unsigned int flags) { CURRENT; *e = make(sizeof **e, event_kind); return flags & ~3u; }
CUresult cuEventDestroy(CUevent e) { CURRENT; return drop(e, event_kind); }
CUresult cuEventRecord(CUevent e, CUstream s) { STREAM(s); e->recorded = 1; return 0; }
CUresult cuEventSynchronize(CUevent e) { CURRENT; return e->kind == event_kind ? 0 : invalid_handle; }

CUresult cuMemAlloc(CUdeviceptr *p, size_t n) {
  CURRENT;
  if (used + n > limit) return out_of_memory;
  size_t *q = calloc(1, n + 16);
  *q = n;
  used += n;
  live++;
  *p = (CUdeviceptr)(uintptr_t)(q + 2);
  return 0;
}
CUresult cuMemFree(CUdeviceptr p) {
  CURRENT;
  size_t *q = (size_t *)(uintptr_t)p - 2;
  used -= *q;
  live--;
  free(q);
  return 0;
}
CUresult cuMemGetInfo(size_t *f, size_t *t) { CURRENT; *f = limit - used; *t = limit; return 0; }
CUresult cuMemHostAlloc(void **p, size_t n, unsigned int flags) { CURRENT; *p = calloc(1, n); live++; return flags == 1 ? 0 : invalid_value; }
CUresult cuMemFreeHost(void *p) { CURRENT; free(p); live--; return 0; }
CUresult cuMemcpyHtoDAsync(CUdeviceptr d, const void *h, size_t n, CUstream s) { STREAM(s); memcpy((void *)(uintptr_t)d, h, n); return 0; }
CUresult cuMemcpyDtoHAsync(void *h, CUdeviceptr d, size_t n, CUstream s) { STREAM(s); memcpy(h, (void *)(uintptr_t)d, n); return 0; }
CUresult cuMemcpyDtoDAsync(CUdeviceptr d, CUdeviceptr e, size_t n, CUstream s) { STREAM(s); memmove((void *)(uintptr_t)d, (void *)(uintptr_t)e, n); return 0; }

// The constant bank as ptxas 12 lays it out (EIATTR_PARAM_CBANK and EIATTR_KPARAM_INFO of its cubins): parameters begin at
// a base that depends on the architecture, each at an absolute multiple of its alignment.
static size_t bank_base(int sm) { return sm >= 100 ? 0x380 : sm >= 90 ? 0x210 : 0x160; }

// What compute capability 9.0 allows.
enum { most_params = 4096, most_static = 48 << 10, most_shared = 227 << 10, register_file = 64 << 10 };

static size_t type_bytes(const char *t) {
  while (*t && (*t < '0' || *t > '9')) t++;
  return atoi(t) / 8;
}

// parse reads the names of kernels and the alignments and sizes of their parameters, one a line.
static int parse(struct CUmod_st *m, const char *ptx) {
  int sm;
  const char *target = strstr(ptx, ".target sm_");
  if (!target || sscanf(target, ".target sm_%d", &sm) != 1 || sm > 90) return 0;
  for (const char *e = ptx; (e = strstr(e, ".entry "));) {
    if (m->functions == max_functions) return 0;
    struct CUfunc_st *f = &m->f[m->functions++];
    f->kind = function_kind;
    if (sscanf(e, ".entry %31[a-z_]", f->name) != 1) return 0;
    const char *body = strchr(e, '{'), *end = strchr(e, '}'), *at;
    if ((at = strstr(e, ".maxntid ")) && at < body) f->threads = atol(at + strlen(".maxntid "));
    if ((at = strstr(e, ".maxnreg ")) && at < body) f->registers = atol(at + strlen(".maxnreg "));
    if ((at = strstr(e, ".shared ")) && at < end && sscanf(at, ".shared .align %*d .b8 box[%ld]", &f->fixed) != 1) return 0;
    f->shared = most_static - f->fixed;
    size_t next = f->base = bank_base(sm);
    for (const char *p = e; (p = strstr(p, ".param ")) && p < body;) {
      char type[8], name[32];
      size_t align = 1, count = 1;
      p += strlen(".param ");
      if (sscanf(p, ".align %zu", &align) == 1) p = strchr(p + 1, '.');
      if (f->params == max_params || sscanf(p, ".%7s %31[a-z0-9_][%zu]", type, name, &count) < 2) return 0;
      size_t bytes = type_bytes(type);
      if (align < bytes) align = bytes;
      next = (next + align - 1) / align * align;
      f->at[f->params] = next;
      f->size[f->params++] = bytes * count;
      next += bytes * count;
    }
    if (next - f->base > most_params || f->fixed > most_static) return 0;
    e = body;
  }
  return 1;
}

CUresult cuModuleLoadDataEx(CUmodule *m, const void *ptx, unsigned int n, CUjit_option *o, void **v) {
  CURRENT;
  if (n != 2 || o[0] != 5 || o[1] != 6) return invalid_value;
  if (strncmp(ptx, ".version", 8)) {
    strncpy(v[0], "no .version", (size_t)v[1]);
    return invalid_ptx;
  }
  static struct CUmod_st module;
  memset(&module, 0, sizeof module);
  module.kind = module_kind;
  *m = &module;
  return parse(&module, ptx) ? 0 : invalid_ptx;
}
CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *name) {
  CURRENT;
  if (m->kind != module_kind) return invalid_handle;
  for (int i = 0; i < m->functions; i++) {
    if (!strcmp(m->f[i].name, name)) {
      *f = &m->f[i];
      return 0;
    }
  }
  return not_found;
}
CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute a, int v) {
  CURRENT;
  if (a != 8 || v < 0 || f->fixed + v > most_shared) return invalid_value;
  f->shared = v;
  return 0;
}

// add adds a number to every element that the grid covers, which begins at an address. add_map takes a struct of 128
// bytes first and adds the first word of it as well. fault writes where it must not.
static CUresult run_kernel(CUfunction f, unsigned int grid, unsigned int block, const char *bank) {
  if (!strcmp(f->name, "fault")) {
    sticky = illegal_address; // the call that started it succeeds
    return 0;
  }
  CUdeviceptr p;
  unsigned int value, more = 0;
  int i = !strcmp(f->name, "add_map");
  if (i) memcpy(&more, bank + f->at[0], 4);
  memcpy(&p, bank + f->at[i], 8);
  memcpy(&value, bank + f->at[i + 1], 4);
  // Like a kernel that finds nothing to do: no error.
  if (i && !p) return 0;
  for (unsigned int j = 0; j < grid * block; j++) ((unsigned int *)(uintptr_t)p)[j] += value + more;
  return 0;
}

// fill_bank places the parameters: from one pointer each, or from a packed buffer, which begins where the parameters do.
static CUresult fill_bank(char *bank, CUfunction f, void **params, void **extra) {
  memset(bank, 0, bank_bytes);
  if (!params == !extra) return invalid_value;
  if (params) {
    for (int i = 0; i < f->params; i++) memcpy(bank + f->at[i], params[i], f->size[i]);
    return 0;
  }
  if (extra[0] != (void *)1 || extra[2] != (void *)2 || extra[4] != (void *)0) return invalid_value;
  memcpy(bank + f->base, extra[1], *(size_t *)extra[3]);
  return 0;
}

// check_launch is what a driver refuses a launch for.
static CUresult check_launch(CUfunction f, const unsigned int *grid, const unsigned int *block, unsigned int shared) {
  if (!f || f->kind != function_kind) return invalid_handle;
  for (int i = 0; i < 3; i++) {
    if (grid[i] < 1 || grid[i] > (i ? 65535 : 0x7fffffff) || block[i] < 1 || block[i] > (i < 2 ? 1024 : 64)) return invalid_value;
  }
  long threads = (long)block[0] * block[1] * block[2];
  if (threads > 1024 || (f->threads && threads > f->threads) || (long)shared > f->shared) return invalid_value;
  // Registers are allocated in steps of 8 a thread. A kernel without bounds may have been given 255.
  long registers = f->registers ? f->registers : f->threads ? register_file / f->threads & ~7 : 256;
  registers = registers > 256 ? 256 : (registers + 7) & ~7;
  return (threads + 31) / 32 * 32 * registers > register_file ? out_of_resources : 0;
}

CUresult cuLaunchKernel(CUfunction f, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx, unsigned int by, unsigned int bz, unsigned int shared, CUstream s, void **params, void **extra) {
  STREAM(s);
  char bank[bank_bytes];
  CUresult r = check_launch(f, (unsigned int[]){gx, gy, gz}, (unsigned int[]){bx, by, bz}, shared);
  if (r) return r;
  if (fill_bank(bank, f, params, extra)) return invalid_value;
  return run_kernel(f, gx * gy * gz, bx * by * bz, bank);
}

CUresult cuGraphCreate(CUgraph *g, unsigned int flags) { CURRENT; *g = make(sizeof **g, graph_kind); return flags; }
CUresult cuGraphDestroy(CUgraph g) { CURRENT; return drop(g, graph_kind); }

static CUresult put_kernel(work *w, const CUDA_KERNEL_NODE_PARAMS *p) {
  if (p->kern) return invalid_value;
  CUresult r = check_launch(p->func, &p->gridDimX, &p->blockDimX, p->sharedMemBytes);
  if (r) return r;
  w->copy = 0;
  w->f = p->func;
  w->grid = p->gridDimX * p->gridDimY * p->gridDimZ;
  w->block = p->blockDimX * p->blockDimY * p->blockDimZ;
  return fill_bank(w->bank, p->func, p->kernelParams, p->extra);
}

static CUresult put_copy(work *w, const CUDA_MEMCPY3D *p, CUcontext ctx) {
  if (ctx != &context || p->Height != 1 || p->Depth != 1 || !p->WidthInBytes || p->dstMemoryType != 2 || p->srcMemoryType < 1 || p->srcMemoryType > 2) return invalid_value;
  w->copy = 1;
  w->m = *p;
  return 0;
}

// Nodes come one after the other, each behind the one before.
static CUresult next_node(CUgraphNode *node, CUgraph g, const CUgraphNode *after, size_t n) {
  if (g->kind != graph_kind || g->n == 64 || n != (g->n > 0) || (n && *after != &g->nodes[g->n - 1])) return invalid_value;
  g->nodes[g->n] = (struct CUgraphNode_st){node_kind, g->n, g};
  *node = &g->nodes[g->n++];
  return 0;
}

CUresult cuGraphAddKernelNode(CUgraphNode *node, CUgraph g, const CUgraphNode *after, size_t n, const CUDA_KERNEL_NODE_PARAMS *p) {
  CURRENT;
  CUresult r = next_node(node, g, after, n);
  return r ? r : put_kernel(&g->w[g->n - 1], p);
}
CUresult cuGraphAddMemcpyNode(CUgraphNode *node, CUgraph g, const CUgraphNode *after, size_t n, const CUDA_MEMCPY3D *p, CUcontext ctx) {
  CURRENT;
  CUresult r = next_node(node, g, after, n);
  return r ? r : put_copy(&g->w[g->n - 1], p, ctx);
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec *e, CUgraph g, unsigned long long flags) {
  CURRENT;
  *e = make(sizeof **e, exec_kind);
  (*e)->n = g->n;
  (*e)->graph = g;
  memcpy((*e)->w, g->w, sizeof g->w);
  return flags ? invalid_value : 0;
}
static work *node_of(CUgraphExec e, CUgraphNode node, int copy) {
  if (e->kind != exec_kind || node->kind != node_kind || node->graph != e->graph || e->w[node->index].copy != copy) return 0;
  return &e->w[node->index];
}
CUresult cuGraphExecKernelNodeSetParams(CUgraphExec e, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *p) {
  CURRENT;
  work *w = node_of(e, node, 0);
  return w ? put_kernel(w, p) : invalid_value;
}
CUresult cuGraphExecMemcpyNodeSetParams(CUgraphExec e, CUgraphNode node, const CUDA_MEMCPY3D *p, CUcontext ctx) {
  CURRENT;
  work *w = node_of(e, node, 1);
  return w && w->m.srcMemoryType == p->srcMemoryType ? put_copy(w, p, ctx) : invalid_value;
}
CUresult cuGraphLaunch(CUgraphExec e, CUstream s) {
  STREAM(s);
  if (e->kind != exec_kind) return invalid_handle;
  for (int i = 0; i < e->n; i++) {
    work *w = &e->w[i];
    if (w->copy) {
      const void *src = w->m.srcMemoryType == 1 ? w->m.srcHost : (void *)(uintptr_t)w->m.srcDevice;
      memmove((void *)(uintptr_t)w->m.dstDevice, src, w->m.WidthInBytes);
      continue;
    }
    CUresult r = run_kernel(w->f, w->grid, w->block, w->bank);
    if (r) return r;
  }
  return 0;
}
CUresult cuGraphExecDestroy(CUgraphExec e) { CURRENT; return drop(e, exec_kind); }

// The rules of cuTensorMapEncodeTiled for two-byte and four-byte elements without interleaving (CUDA driver API).
CUresult cuTensorMapEncodeTiled(CUtensorMap *m, CUtensorMapDataType type, cuuint32_t rank, void *address, const cuuint64_t *dims, const cuuint64_t *strides, const cuuint32_t *box, const cuuint32_t *steps, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill) {
  CURRENT;
  const unsigned long long element = type == 7 ? 4 : type == 9 ? 2 : 0, a = (uintptr_t)address;
  if (!m || (uintptr_t)m % 64 || !element || rank < 1 || rank > 5 || !a || a % 16 || interleave || swizzle > 3 || promotion > 3 || fill > 1) return invalid_value;
  unsigned long long bytes = element;
  for (cuuint32_t i = 0; i < rank; i++) {
    if (dims[i] < 1 || dims[i] > 1ull << 32 || box[i] < 1 || box[i] > 256 || steps[i] < 1 || steps[i] > 8) return invalid_value;
    bytes *= dims[i];
    if (i + 1 == rank) break;
    if (strides[i] % 16 || strides[i] >= 1ull << 40 || strides[i] < bytes) return invalid_value;
    bytes = strides[i];
  }
  const unsigned long long inner = box[0] * element;
  if (inner % 16 || (swizzle && inner > 16ull << swizzle)) return invalid_value;
  memset(m, 0, sizeof *m);
  memcpy(m, &address, sizeof address);
  return 0;
}
