#include <cuda.h>

// Each function makes ctx current for the calling thread first: goroutines move between threads.
CUresult dmx_load(CUcontext ctx, CUmodule *module, const char *ptx, char *log, unsigned int log_bytes);
CUresult dmx_function(CUcontext ctx, CUfunction *f, CUmodule module, const char *name, int shared);
CUresult dmx_launch(CUcontext ctx, CUfunction f, const unsigned int *shape, void *args, size_t bytes);
CUresult dmx_copy_in(CUcontext ctx, CUdeviceptr dst, const void *src, size_t bytes);
CUresult dmx_copy_out(CUcontext ctx, void *dst, CUdeviceptr src, size_t bytes);
CUresult dmx_copy(CUcontext ctx, CUdeviceptr dst, CUdeviceptr src, size_t bytes);
CUresult dmx_alloc(CUcontext ctx, CUdeviceptr *p, size_t bytes);
CUresult dmx_free(CUcontext ctx, CUdeviceptr p);
CUresult dmx_memory(CUcontext ctx, size_t *free_bytes, size_t *total);
CUresult dmx_tensor_map(CUcontext ctx, void *out, unsigned int type, CUdeviceptr addr, const unsigned long long *dims, unsigned long long row_bytes, const unsigned int *box, unsigned int swizzle);
CUresult dmx_sync(CUcontext ctx);
const char *dmx_error(CUresult r);
