#include <cuda.h>

// Events that keep the time; ctx is made current first.
CUresult dmx_timer_new(CUcontext ctx, CUevent *e);
CUresult dmx_timer_free(CUcontext ctx, CUevent e);
CUresult dmx_timer_elapsed(CUcontext ctx, float *ms, CUevent from, CUevent to);
