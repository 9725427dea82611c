#include <cuda.h>

// Each function makes ctx current for the calling thread first: goroutines move between threads.
CUresult dmx_streams(CUcontext ctx, CUstream *streams, int n);
CUresult dmx_close(CUcontext ctx, CUstream *streams, int n);
CUresult dmx_load(CUcontext ctx, CUmodule *module, const char *ptx, char *log, unsigned int log_bytes);
CUresult dmx_function(CUcontext ctx, CUfunction *f, CUmodule module, const char *name, int shared);
CUresult dmx_launch(CUcontext ctx, CUstream s, CUfunction f, const unsigned int *shape, char *args, const unsigned int *params, int n);
CUresult dmx_copy_in(CUcontext ctx, CUstream s, CUdeviceptr dst, const void *src, size_t bytes);
CUresult dmx_copy_out(CUcontext ctx, CUstream s, void *dst, CUdeviceptr src, size_t bytes);
CUresult dmx_copy(CUcontext ctx, CUstream s, CUdeviceptr dst, CUdeviceptr src, size_t bytes);
CUresult dmx_feed(CUcontext ctx, CUstream s, CUdeviceptr dst, const void *src, size_t bytes);
CUresult dmx_alloc(CUcontext ctx, CUdeviceptr *p, size_t bytes);
CUresult dmx_free(CUcontext ctx, CUdeviceptr p);
CUresult dmx_memory(CUcontext ctx, size_t *free_bytes, size_t *total);
CUresult dmx_pin(CUcontext ctx, void **p, size_t bytes);
CUresult dmx_unpin(CUcontext ctx, void *p);
CUresult dmx_event(CUcontext ctx, CUevent *e);
CUresult dmx_event_close(CUcontext ctx, CUevent e);
CUresult dmx_record(CUcontext ctx, CUevent e, CUstream s);
CUresult dmx_follow(CUcontext ctx, CUevent e, CUstream s);
CUresult dmx_wait(CUcontext ctx, CUevent e);
CUresult dmx_tensor_map(CUcontext ctx, void *out, unsigned int type, CUdeviceptr addr, const unsigned long long *dims, unsigned long long row_bytes, const unsigned int *box, unsigned int swizzle);
CUresult dmx_sync(CUcontext ctx);
const char *dmx_error(CUresult r);

// One command of a graph. The arguments of all commands lie in one buffer (args), and where each parameter begins among
// those of its command in another (params).
typedef struct {
  unsigned int kind;     // 0 a kernel, 1 a copy from the host, 2 a copy on the device
  unsigned int shape[7]; // grid x, y, z, block x, y, z, bytes of dynamic shared memory
  CUfunction function;
  size_t args, params;    // where those of the command begin in the two buffers
  int param_count;
  CUdeviceptr dst, src;   // of a copy; a host address for kind 1
  size_t bytes;
} dmx_command;

// A graph that has been made, with the nodes in the order of the commands.
typedef struct {
  CUgraph graph;
  CUgraphExec exec;
} dmx_graph;

// failed is set to the number of the command that the error belongs to, -1 for none.
CUresult dmx_graph_new(CUcontext ctx, dmx_graph *g, CUgraphNode *nodes, const dmx_command *commands, char *args, const unsigned int *params, int n, int *failed);
CUresult dmx_graph_launch(CUcontext ctx, CUstream s, dmx_graph g, const CUgraphNode *nodes, const dmx_command *changed, const int *index, char *args, const unsigned int *params, int n, int *failed);
CUresult dmx_graph_close(CUcontext ctx, dmx_graph g);
