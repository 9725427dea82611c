//go:build linux && cgo && !cpu

#include "timer.h"

#define WITH(ctx, call) \
  CUresult r = cuCtxSetCurrent(ctx); \
  return r ? r : (call)

// Flags 0: an event that keeps the time.
CUresult dmx_timer_new(CUcontext ctx, CUevent *e) { WITH(ctx, cuEventCreate(e, 0)); }
CUresult dmx_timer_free(CUcontext ctx, CUevent e) { WITH(ctx, cuEventDestroy(e)); }

CUresult dmx_timer_elapsed(CUcontext ctx, float *ms, CUevent from, CUevent to) {
  CUresult r = cuCtxSetCurrent(ctx);
  if (r) return r;
  if ((r = cuEventSynchronize(to))) return r;
  return cuEventElapsedTime(ms, from, to);
}
