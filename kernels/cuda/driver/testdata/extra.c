// Launches add_map with its arguments packed in one buffer (extra), first from byte 0 and then with the first parameter at
// byte 48, where ptxas places one that is aligned to 64 bytes on compute capability 9.0, and prints what the kernel added.
//
// gcc -I ../include -o extra extra.c fakecuda.c; ./extra "$PTX"

#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int n, char **v) {
  CUcontext ctx;
  CUmodule m;
  CUfunction f;
  CUstream s;
  CUdeviceptr p;
  char log[64];
  if (n != 2 || cuDevicePrimaryCtxRetain(&ctx, 0) || cuCtxSetCurrent(ctx) || cuStreamCreate(&s, 1) || cuMemAlloc(&p, 4) ||
      cuModuleLoadDataEx(&m, v[1], 2, (CUjit_option[]){5, 6}, (void *[]){log, (void *)sizeof log}) || cuModuleGetFunction(&f, m, "add_map"))
    return 1;
  for (int at = 0; at <= 48; at += 48) {
    char args[192] = {0};
    size_t bytes = at + 140;
    unsigned int more = 100, value = 7, sum = 0;
    memcpy(args + at, &more, 4);
    memcpy(args + at + 128, &p, 8);
    memcpy(args + at + 136, &value, 4);
    if (cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, s, 0, (void *[]){(void *)1, args, (void *)2, &bytes, (void *)0}) || cuMemcpyDtoHAsync(&sum, p, 4, s)) return 1;
    printf("%d: %u\n", at, sum);
  }
  return 0;
}
