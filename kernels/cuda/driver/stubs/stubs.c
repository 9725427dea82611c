// The CUDA driver's functions, found when they are needed: every symbol that gorgonia.org/cu links against is
// defined here as a jump through a table. dmx_cuda_open fills the table from libcuda.so.1. Until then, and for
// functions that an older driver lacks, a jump lands in a function that returns CUDA_ERROR_STUB_LIBRARY (34).
// So one binary runs on machines with and without a GPU, and starting it does not start the driver.

#include <dlfcn.h>
#include <stddef.h>

static int missing(void) { return 34; }

#define EACH(X) \
  X(cuArray3DCreate_v2) X(cuArray3DGetDescriptor_v2) X(cuArrayCreate_v2) X(cuArrayDestroy) \
  X(cuArrayGetDescriptor_v2) X(cuCtxCreate_v2) X(cuCtxDestroy_v2) X(cuCtxDisablePeerAccess) \
  X(cuCtxEnablePeerAccess) X(cuCtxGetApiVersion) X(cuCtxGetCacheConfig) X(cuCtxGetCurrent) \
  X(cuCtxGetDevice) X(cuCtxGetFlags) X(cuCtxGetLimit) X(cuCtxGetSharedMemConfig) \
  X(cuCtxGetStreamPriorityRange) X(cuCtxPopCurrent_v2) X(cuCtxPushCurrent_v2) X(cuCtxResetPersistingL2Cache) \
  X(cuCtxSetCacheConfig) X(cuCtxSetCurrent) X(cuCtxSetLimit) X(cuCtxSetSharedMemConfig) \
  X(cuCtxSynchronize) X(cuDeviceCanAccessPeer) X(cuDeviceGet) X(cuDeviceGetAttribute) \
  X(cuDeviceGetName) X(cuDeviceGetP2PAttribute) X(cuDeviceGetUuid) X(cuDevicePrimaryCtxGetState) \
  X(cuDevicePrimaryCtxRelease_v2) X(cuDevicePrimaryCtxReset_v2) X(cuDevicePrimaryCtxRetain) X(cuDevicePrimaryCtxSetFlags_v2) \
  X(cuDeviceTotalMem_v2) X(cuDriverGetVersion) X(cuEventCreate) X(cuEventDestroy_v2) \
  X(cuEventElapsedTime) X(cuEventQuery) X(cuEventRecord) X(cuEventSynchronize) \
  X(cuFuncGetAttribute) X(cuFuncSetAttribute) X(cuFuncSetCacheConfig) X(cuFuncSetSharedMemConfig) \
  X(cuGetErrorName) X(cuGetErrorString) X(cuGraphAddChildGraphNode) X(cuGraphAddDependencies) \
  X(cuGraphAddEmptyNode) X(cuGraphAddHostNode) X(cuGraphAddKernelNode_v2) X(cuGraphAddMemcpyNode) \
  X(cuGraphAddMemsetNode) X(cuGraphClone) X(cuGraphCreate) X(cuGraphDestroy) \
  X(cuGraphDestroyNode) X(cuGraphExecDestroy) X(cuGraphExecKernelNodeSetParams_v2) X(cuGraphExecMemcpyNodeSetParams) X(cuGraphGetEdges) X(cuGraphInstantiateWithFlags) \
  X(cuGraphLaunch) X(cuLaunchKernel) X(cuLinkAddData_v2) X(cuLinkAddFile_v2) \
  X(cuLinkComplete) X(cuLinkCreate_v2) X(cuLinkDestroy) X(cuMemAdvise) \
  X(cuMemAllocAsync) X(cuMemAllocManaged) X(cuMemAllocPitch_v2) X(cuMemAlloc_v2) \
  X(cuMemFreeAsync) X(cuMemFreeHost) X(cuMemFree_v2) X(cuMemGetAddressRange_v2) \
  X(cuMemGetInfo_v2) X(cuMemHostAlloc) X(cuMemPrefetchAsync) X(cuMemcpy) \
  X(cuMemcpy2DAsync_v2) X(cuMemcpy2DUnaligned_v2) X(cuMemcpy2D_v2) X(cuMemcpy3DAsync_v2) \
  X(cuMemcpy3DPeer) X(cuMemcpy3DPeerAsync) X(cuMemcpy3D_v2) X(cuMemcpyAsync) \
  X(cuMemcpyAtoA_v2) X(cuMemcpyAtoD_v2) X(cuMemcpyAtoHAsync_v2) X(cuMemcpyAtoH_v2) \
  X(cuMemcpyDtoA_v2) X(cuMemcpyDtoDAsync_v2) X(cuMemcpyDtoD_v2) X(cuMemcpyDtoHAsync_v2) \
  X(cuMemcpyDtoH_v2) X(cuMemcpyHtoAAsync_v2) X(cuMemcpyHtoA_v2) X(cuMemcpyHtoDAsync_v2) \
  X(cuMemcpyHtoD_v2) X(cuMemcpyPeer) X(cuMemcpyPeerAsync) X(cuMemsetD16Async) \
  X(cuMemsetD16_v2) X(cuMemsetD2D16Async) X(cuMemsetD2D16_v2) X(cuMemsetD2D32Async) \
  X(cuMemsetD2D32_v2) X(cuMemsetD2D8Async) X(cuMemsetD2D8_v2) X(cuMemsetD32Async) \
  X(cuMemsetD32_v2) X(cuMemsetD8Async) X(cuMemsetD8_v2) X(cuModuleGetFunction) \
  X(cuModuleGetGlobal_v2) X(cuModuleGetSurfRef) X(cuModuleGetTexRef) X(cuModuleLoad) \
  X(cuModuleLoadData) X(cuModuleLoadDataEx) X(cuModuleLoadFatBinary) X(cuModuleUnload) \
  X(cuOccupancyMaxActiveBlocksPerMultiprocessor) X(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags) X(cuOccupancyMaxPotentialBlockSize) X(cuPointerGetAttribute) \
  X(cuPointerSetAttribute) X(cuStreamAttachMemAsync) X(cuStreamBeginCapture_v2) X(cuStreamCreate) \
  X(cuStreamCreateWithPriority) X(cuStreamDestroy_v2) X(cuStreamEndCapture) X(cuStreamGetFlags) \
  X(cuStreamGetPriority) X(cuStreamQuery) X(cuStreamSynchronize) X(cuStreamWaitEvent) \
  X(cuStreamWaitValue32_v2) X(cuStreamWriteValue32_v2) X(cuSurfRefGetArray) X(cuSurfRefSetArray) \
  X(cuTensorMapEncodeTiled) X(cuTexRefGetAddressMode) X(cuTexRefGetAddress_v2) X(cuTexRefGetArray) \
  X(cuTexRefGetBorderColor) X(cuTexRefGetFilterMode) X(cuTexRefGetFlags) X(cuTexRefGetFormat) \
  X(cuTexRefGetMaxAnisotropy) X(cuTexRefSetAddress2D_v3) X(cuTexRefSetAddressMode) X(cuTexRefSetAddress_v2) \
  X(cuTexRefSetArray) X(cuTexRefSetBorderColor) X(cuTexRefSetFilterMode) X(cuTexRefSetFlags) \
  X(cuTexRefSetFormat) X(cuTexRefSetMaxAnisotropy) X(cuTexRefSetMipmapFilterMode) X(cuTexRefSetMipmapLevelBias) \
  X(cuTexRefSetMipmapLevelClamp)

#define SLOT(name) void *dmx_slot_##name = (void *)missing;
EACH(SLOT)

#define STRING(x) #x
#if defined(__x86_64__)
#define JUMP(name) __asm__(".text\n.globl " STRING(name) "\n.type " STRING(name) ",@function\n" STRING(name) ":\n jmp *dmx_slot_" STRING(name) "(%rip)\n");
#elif defined(__aarch64__)
#define JUMP(name) __asm__(".text\n.globl " STRING(name) "\n.type " STRING(name) ",%function\n" STRING(name) ":\n adrp x16, dmx_slot_" STRING(name) "\n ldr x16, [x16, :lo12:dmx_slot_" STRING(name) "]\n br x16\n");
#else
#error "dmx's CUDA backend knows amd64 and arm64; build with -tags cpu"
#endif
EACH(JUMP)

static int (*device_count)(int *);

// gorgonia.org/cu calls cuInit when its package is loaded and ends the process if that fails. The driver is
// started by dmx_cuda_open instead.
int cuInit(unsigned int flags) { return (int)(flags & 0); }

int cuDeviceGetCount(int *count) {
  *count = 0;
  return device_count ? device_count(count) : 0;
}

// dmx_cuda_open loads and starts the driver. It returns 0, the driver's error, or -1 where there is no library;
// message then says why.
int dmx_cuda_open(const char **message) {
  static const char none[] = "";
  *message = none;
  void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!lib) {
    *message = dlerror();
    return -1;
  }
  int (*init)(unsigned int) = (int (*)(unsigned int))dlsym(lib, "cuInit");
  if (!init) {
    *message = "libcuda.so.1 has no cuInit";
    return -1;
  }
  int rc = init(0);
  if (rc != 0) return rc;
  void *f;
#define FIND(name) \
  if ((f = dlsym(lib, #name))) dmx_slot_##name = f;
  EACH(FIND)
  device_count = (int (*)(int *))dlsym(lib, "cuDeviceGetCount");
  return 0;
}
