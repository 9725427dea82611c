// Package kernels is the one list of operations that the rest of the program may ask of a device.
//
// Backend is that list; kernels/ref is its float64 oracle, kernels/cpu and kernels/cuda its fast forms, and
// kernels/optest the table of cases that every one of them must pass. The list is narrow and fused where a
// vision transformer needs it: there is no operation per arithmetic sign.
//
// It must not know what a layer, a model or a loss recipe is.
package kernels
