//go:build linux && cgo && !cpu

#include "companion.h"

#include <string.h>

#define WITH(ctx, call) \
  CUresult r = cuCtxSetCurrent(ctx); \
  return r ? r : (call)

// Flag 1: no stream waits for the legacy default stream, which other users of the context may fill. All n streams are
// made, or none.
CUresult dmx_streams(CUcontext ctx, CUstream *streams, int n) {
  CUresult r = cuCtxSetCurrent(ctx);
  int made = 0;
  while (!r && made < n && !(r = cuStreamCreate(&streams[made], 1))) made++;
  if (r)
    while (made-- > 0) cuStreamDestroy(streams[made]);
  return r;
}

CUresult dmx_close(CUcontext ctx, CUstream *streams, int n) {
  CUresult first = cuCtxSetCurrent(ctx);
  if (first) return first;
  for (int i = 0; i < n; i++) {
    CUresult r = cuStreamDestroy(streams[i]);
    if (!first) first = r;
  }
  return first;
}

// Options of cuModuleLoadDataEx: 5 and 6 are the error log and its size.
CUresult dmx_load(CUcontext ctx, CUmodule *module, const char *ptx, char *log, unsigned int log_bytes) {
  CUjit_option options[] = {5, 6};
  void *values[] = {log, (void *)(uintptr_t)log_bytes};
  WITH(ctx, cuModuleLoadDataEx(module, ptx, 2, options, values));
}

// Attribute 8 is the most dynamic shared memory a kernel may be launched with; unset, it is what static memory leaves of
// 48 KiB.
CUresult dmx_function(CUcontext ctx, CUfunction *f, CUmodule module, const char *name, int shared) {
  CUresult r = cuCtxSetCurrent(ctx);
  if (r) return r;
  if ((r = cuModuleGetFunction(f, module, name))) return r;
  return shared ? cuFuncSetAttribute(*f, 8, shared) : 0;
}

// One pointer a parameter, for kernelParams: the driver knows where each lies. A packed buffer (extra) would have to
// begin where the constant bank does, and its layout depends on the alignment of that address: on compute capability
// 9.0 tensor maps begin at byte 48 of it.
#define POINTERS(pointers, args, params, n) \
  void *pointers[(n) + 1]; \
  for (int i_ = 0; i_ < (n); i_++) pointers[i_] = (args) + (params)[i_]

// shape is grid x, y, z, block x, y, z and the bytes of dynamic shared memory.
CUresult dmx_launch(CUcontext ctx, CUstream s, CUfunction f, const unsigned int *shape, char *args, const unsigned int *params, int n) {
  POINTERS(pointers, args, params, n);
  WITH(ctx, cuLaunchKernel(f, shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], shape[6], s, pointers, 0));
}

// Pageable memory: the copy is over when the call returns.
CUresult dmx_copy_in(CUcontext ctx, CUstream s, CUdeviceptr dst, const void *src, size_t bytes) {
  CUresult r = cuCtxSetCurrent(ctx);
  if (r) return r;
  if ((r = cuMemcpyHtoDAsync(dst, src, bytes, s))) return r;
  return cuStreamSynchronize(s);
}

CUresult dmx_copy_out(CUcontext ctx, CUstream s, void *dst, CUdeviceptr src, size_t bytes) {
  CUresult r = cuCtxSetCurrent(ctx);
  if (r) return r;
  if ((r = cuMemcpyDtoHAsync(dst, src, bytes, s))) return r;
  return cuStreamSynchronize(s);
}

CUresult dmx_copy(CUcontext ctx, CUstream s, CUdeviceptr dst, CUdeviceptr src, size_t bytes) { WITH(ctx, cuMemcpyDtoDAsync(dst, src, bytes, s)); }
CUresult dmx_feed(CUcontext ctx, CUstream s, CUdeviceptr dst, const void *src, size_t bytes) { WITH(ctx, cuMemcpyHtoDAsync(dst, src, bytes, s)); }
CUresult dmx_alloc(CUcontext ctx, CUdeviceptr *p, size_t bytes) { WITH(ctx, cuMemAlloc(p, bytes)); }
CUresult dmx_free(CUcontext ctx, CUdeviceptr p) { WITH(ctx, cuMemFree(p)); }
CUresult dmx_memory(CUcontext ctx, size_t *free_bytes, size_t *total) { WITH(ctx, cuMemGetInfo(free_bytes, total)); }

// Flag 1: pinned for every context of the process.
CUresult dmx_pin(CUcontext ctx, void **p, size_t bytes) { WITH(ctx, cuMemHostAlloc(p, bytes, 1)); }
CUresult dmx_unpin(CUcontext ctx, void *p) { WITH(ctx, cuMemFreeHost(p)); }

// Flags 2: no time stamps; 1: a thread that waits sleeps, and leaves its core to those that decode images.
CUresult dmx_event(CUcontext ctx, CUevent *e) { WITH(ctx, cuEventCreate(e, 3)); }
CUresult dmx_event_close(CUcontext ctx, CUevent e) { WITH(ctx, cuEventDestroy(e)); }
CUresult dmx_record(CUcontext ctx, CUevent e, CUstream s) { WITH(ctx, cuEventRecord(e, s)); }
CUresult dmx_follow(CUcontext ctx, CUevent e, CUstream s) { WITH(ctx, cuStreamWaitEvent(s, e, 0)); }
CUresult dmx_wait(CUcontext ctx, CUevent e) { WITH(ctx, cuEventSynchronize(e)); }

// A matrix of rows of dims[0] elements of CUtensorMapDataType type. No interleaving (0), L2 promotion to 256 bytes
// (3), zeros outside the matrix (0). The driver wants the map aligned to 64 bytes, later headers to 128; out is 128 bytes anywhere.
CUresult dmx_tensor_map(CUcontext ctx, void *out, unsigned int type, CUdeviceptr addr, const unsigned long long *dims, unsigned long long row_bytes, const unsigned int *box, unsigned int swizzle) {
  _Alignas(128) CUtensorMap map;
  cuuint64_t extent[] = {dims[0], dims[1]};
  cuuint32_t step[] = {1, 1};
  CUresult r = cuCtxSetCurrent(ctx);
  if (r) return r;
  r = cuTensorMapEncodeTiled(&map, type, 2, (void *)(uintptr_t)addr, extent, (cuuint64_t[]){row_bytes}, box, step, 0, swizzle, 3, 0);
  if (!r) memcpy(out, &map, sizeof map);
  return r;
}

CUresult dmx_sync(CUcontext ctx) { WITH(ctx, cuCtxSynchronize()); }

// The parameters of a node. The driver copies the arguments when it is given them.
static CUresult set_kernel(CUgraphExec exec, CUgraph graph, CUgraphNode *node, const CUgraphNode *after, const dmx_command *c, char *args, const unsigned int *params) {
  POINTERS(pointers, args + c->args, params + c->params, c->param_count);
  const unsigned int *s = c->shape;
  CUDA_KERNEL_NODE_PARAMS p = {c->function, s[0], s[1], s[2], s[3], s[4], s[5], s[6], pointers, 0, 0, 0};
  if (exec) return cuGraphExecKernelNodeSetParams(exec, *node, &p);
  return cuGraphAddKernelNode(node, graph, after, after ? 1 : 0, &p);
}

// Memory types: 1 the host, 2 the device.
static CUresult set_copy(CUcontext ctx, CUgraphExec exec, CUgraph graph, CUgraphNode *node, const CUgraphNode *after, const dmx_command *c) {
  CUDA_MEMCPY3D p;
  memset(&p, 0, sizeof p);
  if (c->kind == 1) {
    p.srcMemoryType = 1;
    p.srcHost = (const void *)(uintptr_t)c->src;
  } else {
    p.srcMemoryType = 2;
    p.srcDevice = c->src;
  }
  p.dstMemoryType = 2;
  p.dstDevice = c->dst;
  p.WidthInBytes = c->bytes;
  p.Height = p.Depth = 1;
  if (exec) return cuGraphExecMemcpyNodeSetParams(exec, *node, &p, ctx);
  return cuGraphAddMemcpyNode(node, graph, after, after ? 1 : 0, &p, ctx);
}

static CUresult set_node(CUcontext ctx, CUgraphExec exec, CUgraph graph, CUgraphNode *node, const CUgraphNode *after, const dmx_command *c, char *args, const unsigned int *params) {
  return c->kind == 0 ? set_kernel(exec, graph, node, after, c, args, params) : set_copy(ctx, exec, graph, node, after, c);
}

// Each node waits for the one before it.
CUresult dmx_graph_new(CUcontext ctx, dmx_graph *g, CUgraphNode *nodes, const dmx_command *commands, char *args, const unsigned int *params, int n, int *failed) {
  *failed = -1;
  CUresult r = cuCtxSetCurrent(ctx);
  if (r) return r;
  if ((r = cuGraphCreate(&g->graph, 0))) return r;
  for (int i = 0; i < n; i++) {
    if ((r = set_node(ctx, 0, g->graph, &nodes[i], i ? &nodes[i - 1] : 0, &commands[i], args, params))) {
      *failed = i;
      break;
    }
  }
  if (!r) r = cuGraphInstantiateWithFlags(&g->exec, g->graph, 0);
  if (r) cuGraphDestroy(g->graph);
  return r;
}

CUresult dmx_graph_launch(CUcontext ctx, CUstream s, dmx_graph g, const CUgraphNode *nodes, const dmx_command *changed, const int *index, char *args, const unsigned int *params, int n, int *failed) {
  *failed = -1;
  CUresult r = cuCtxSetCurrent(ctx);
  if (r) return r;
  for (int i = 0; i < n; i++) {
    CUgraphNode node = nodes[index[i]];
    if ((r = set_node(ctx, g.exec, g.graph, &node, 0, &changed[i], args, params))) {
      *failed = index[i];
      return r;
    }
  }
  return cuGraphLaunch(g.exec, s);
}

CUresult dmx_graph_close(CUcontext ctx, dmx_graph g) {
  CUresult r = cuCtxSetCurrent(ctx);
  if (r) return r;
  CUresult a = cuGraphExecDestroy(g.exec), b = cuGraphDestroy(g.graph);
  return a ? a : b;
}

const char *dmx_error(CUresult r) {
  const char *s = 0;
  return cuGetErrorName(r, &s) == 0 && s ? s : "unknown CUDA error";
}
