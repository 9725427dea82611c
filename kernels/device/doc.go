// Package device opens a backend by the name of its device: cpu, cuda:N, emulated-cuda, auto.
//
// It is the one place outside the backends that knows which kinds of device there are. It must not know what computes
// on them.
package device
