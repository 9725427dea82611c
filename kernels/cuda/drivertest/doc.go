// Package drivertest holds drivers for tests of the GPU backend: one that does everything as late as the rules of
// streams and events allow, one that counts, one that fails when it is told to, one that gives garbage, one whose kernels are Go functions, and
// one that does nothing at all, so that the calls and the memory of large models can be looked at. It must not know what the calls are for.
package drivertest
