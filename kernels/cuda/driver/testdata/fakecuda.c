// A CUDA driver without a device, for tests of the calls that dmx makes: "device" memory is the heap, copies and kernels
// run when they are asked for, and every call checks what a driver would: that a context is current on the thread,
// that handles are its own, that copies in a graph are one-dimensional. It knows two kernels, add and fault.
//
// gcc -shared -fPIC -I ../include -o libcuda.so.1 fakecuda.c

#include <cuda.h>
#include <string.h>

enum { invalid_value = 1, out_of_memory = 2, no_context = 201, invalid_handle = 400, not_found = 500, illegal_address = 700, limit = 64 << 20 };

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
struct CUmod_st { int kind; };
struct CUfunc_st { int kind, number, shared; };
static struct CUfunc_st functions[] = {{function_kind, 0, 49152}, {function_kind, 1, 49152}};

typedef struct {
  int copy;
  CUfunction f;
  unsigned int grid, block;
  char args[4096];
  size_t bytes;
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
  *s = r == out_of_memory ? "CUDA_ERROR_OUT_OF_MEMORY" : r == illegal_address ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_OTHER";
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

CUresult cuModuleLoadDataEx(CUmodule *m, const void *ptx, unsigned int n, CUjit_option *o, void **v) {
  CURRENT;
  if (n != 2 || o[0] != 5 || o[1] != 6) return invalid_value;
  if (strncmp(ptx, ".version", 8)) {
    strncpy(v[0], "no .version", (size_t)v[1]);
    return 218;
  }
  static struct CUmod_st module = {module_kind};
  *m = &module;
  return 0;
}
CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *name) {
  CURRENT;
  int i = !strcmp(name, "add") ? 0 : !strcmp(name, "fault") ? 1 : -1;
  if (m->kind != module_kind || i < 0) return not_found;
  *f = &functions[i];
  return 0;
}
CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute a, int v) { CURRENT; if (a != 8) return invalid_value; f->shared = v; return 0; }

// add adds a number to every element that the grid covers; fault is a kernel that writes where it must not.
static CUresult run_kernel(CUfunction f, unsigned int grid, unsigned int block, const char *args, size_t bytes) {
  if (f->number == 1) {
    sticky = illegal_address; // the call that started it succeeds
    return 0;
  }
  struct { CUdeviceptr p; unsigned int value; } a;
  if (bytes < 12) return invalid_value;
  memcpy(&a, args, 12);
  for (unsigned int i = 0; i < grid * block; i++) ((unsigned int *)(uintptr_t)a.p)[i] += a.value;
  return 0;
}

static CUresult unpack(void **extra, char **args, size_t *bytes) {
  if (!extra || extra[0] != (void *)1 || extra[2] != (void *)2 || extra[4] != (void *)0) return invalid_value;
  *args = extra[1];
  *bytes = *(size_t *)extra[3];
  return 0;
}

CUresult cuLaunchKernel(CUfunction f, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx, unsigned int by, unsigned int bz, unsigned int shared, CUstream s, void **params, void **extra) {
  STREAM(s);
  char *args;
  size_t bytes;
  if (params || f->kind != function_kind || (int)shared > f->shared || unpack(extra, &args, &bytes)) return invalid_value;
  return run_kernel(f, gx * gy * gz, bx * by * bz, args, bytes);
}

CUresult cuGraphCreate(CUgraph *g, unsigned int flags) { CURRENT; *g = make(sizeof **g, graph_kind); return flags; }
CUresult cuGraphDestroy(CUgraph g) { CURRENT; return drop(g, graph_kind); }

static CUresult put_kernel(work *w, const CUDA_KERNEL_NODE_PARAMS *p) {
  char *args;
  if (p->kernelParams || p->kern || !p->func || p->func->kind != function_kind || (int)p->sharedMemBytes > p->func->shared) return invalid_value;
  w->copy = 0;
  w->f = p->func;
  w->grid = p->gridDimX * p->gridDimY * p->gridDimZ;
  w->block = p->blockDimX * p->blockDimY * p->blockDimZ;
  CUresult r = unpack(p->extra, &args, &w->bytes);
  if (r || w->bytes > sizeof w->args) return invalid_value;
  memcpy(w->args, args, w->bytes);
  return 0;
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
    CUresult r = run_kernel(w->f, w->grid, w->block, w->args, w->bytes);
    if (r) return r;
  }
  return 0;
}
CUresult cuGraphExecDestroy(CUgraphExec e) { CURRENT; return drop(e, exec_kind); }
