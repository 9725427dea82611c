#include <cuda.h>

// Events on the stream that launches go to; ctx is made current first.
CUresult dmx_timer_new(CUcontext ctx, CUevent *e);
CUresult dmx_timer_free(CUcontext ctx, CUevent e);
CUresult dmx_timer_record(CUcontext ctx, CUevent e);
CUresult dmx_timer_elapsed(CUcontext ctx, float *ms, CUevent from, CUevent to);
