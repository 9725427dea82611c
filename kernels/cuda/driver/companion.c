//go:build linux && cgo && !cpu

#include "companion.h"

#include <string.h>

#define WITH(ctx, call) \
  CUresult r = cuCtxSetCurrent(ctx); \
  return r ? r : (call)

// Options of cuModuleLoadDataEx: 5 and 6 are the error log and its size.
CUresult dmx_load(CUcontext ctx, CUmodule *module, const char *ptx, char *log, unsigned int log_bytes) {
  CUjit_option options[] = {5, 6};
  void *values[] = {log, (void *)(uintptr_t)log_bytes};
  WITH(ctx, cuModuleLoadDataEx(module, ptx, 2, options, values));
}

// Attribute 8 is the most dynamic shared memory a kernel may be launched with; up to 48 KiB need no asking.
CUresult dmx_function(CUcontext ctx, CUfunction *f, CUmodule module, const char *name, int shared) {
  CUresult r = cuCtxSetCurrent(ctx);
  if (r) return r;
  if ((r = cuModuleGetFunction(f, module, name))) return r;
  return shared > 48 << 10 ? cuFuncSetAttribute(*f, 8, shared) : 0;
}

// shape is grid x, y, z, block x, y, z and the bytes of dynamic shared memory. Markers 1, 2 and 0 introduce the
// packed argument buffer, its size and the end.
CUresult dmx_launch(CUcontext ctx, CUfunction f, const unsigned int *shape, void *args, size_t bytes) {
  void *extra[] = {(void *)1, args, (void *)2, &bytes, (void *)0};
  WITH(ctx, cuLaunchKernel(f, shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], shape[6], 0, 0, extra));
}

CUresult dmx_copy_in(CUcontext ctx, CUdeviceptr dst, const void *src, size_t bytes) { WITH(ctx, cuMemcpyHtoD(dst, src, bytes)); }
CUresult dmx_copy_out(CUcontext ctx, void *dst, CUdeviceptr src, size_t bytes) { WITH(ctx, cuMemcpyDtoH(dst, src, bytes)); }
CUresult dmx_copy(CUcontext ctx, CUdeviceptr dst, CUdeviceptr src, size_t bytes) { WITH(ctx, cuMemcpyDtoDAsync(dst, src, bytes, 0)); }
CUresult dmx_alloc(CUcontext ctx, CUdeviceptr *p, size_t bytes) { WITH(ctx, cuMemAlloc(p, bytes)); }
CUresult dmx_free(CUcontext ctx, CUdeviceptr p) { WITH(ctx, cuMemFree(p)); }
CUresult dmx_memory(CUcontext ctx, size_t *free_bytes, size_t *total) { WITH(ctx, cuMemGetInfo(free_bytes, total)); }

// A matrix of rows of dims[0] elements of CUtensorMapDataType type. No interleaving (0), L2 promotion to 256 bytes
// (3), zeros outside the matrix (0). The driver wants the map aligned to 64 bytes; out is 128 bytes anywhere.
CUresult dmx_tensor_map(CUcontext ctx, void *out, unsigned int type, CUdeviceptr addr, const unsigned long long *dims, unsigned long long row_bytes, const unsigned int *box, unsigned int swizzle) {
  _Alignas(64) CUtensorMap map;
  cuuint64_t extent[] = {dims[0], dims[1]};
  cuuint32_t step[] = {1, 1};
  CUresult r = cuCtxSetCurrent(ctx);
  if (r) return r;
  r = cuTensorMapEncodeTiled(&map, type, 2, (void *)(uintptr_t)addr, extent, (cuuint64_t[]){row_bytes}, box, step, 0, swizzle, 3, 0);
  if (!r) memcpy(out, &map, sizeof map);
  return r;
}

CUresult dmx_sync(CUcontext ctx) { WITH(ctx, cuCtxSynchronize()); }

const char *dmx_error(CUresult r) {
  const char *s = 0;
  return cuGetErrorName(r, &s) == 0 && s ? s : "unknown CUDA error";
}
