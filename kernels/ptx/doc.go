// Package ptx executes NVIDIA PTX on the CPU: a compiler of parsed kernels (package syntax) into steps, which refuses what
// it does not know, a warp-level interpreter with seeded random scheduling, a sanitizer (races, bounds, alignment,
// uninitialised reads, wrong barriers and masks, deadlocks) and counters that turn performance mistakes into
// test failures. It is a gpu.Driver, so the whole GPU backend runs on it where there is no GPU.
//
// Of compute capability 9.0 it executes mbarriers, bulk and tensor copies, wgmma with bf16 operands, setmaxnreg and
// clusters of one block. What is asynchronous there is so here: a copy lands piece by piece at random later times, a
// product is visible after wgmma.wait_group, a try_wait sometimes gives up. Happens-before is kept in vector clocks with
// a component for each warp and each mbarrier, and a second set for the async proxy: that finds a missing wait, a stage
// that is used again too early, and a missing proxy fence in any schedule, not only in the one where it does harm.
//
// Left out: clusters of several blocks, multicast, im2col, matrix descriptors with a base offset, boxes narrower than
// their swizzle. The order of two products' sums is that of k; hardware adds in another order, which tests allow for.
//
// It must not know what our kernels compute: only the instruction set.
package ptx
