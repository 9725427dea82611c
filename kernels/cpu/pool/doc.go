// Package pool runs numbered tasks on a fixed set of workers.
//
// It makes the CPU backend parallel and still deterministic: the caller divides its work into tasks by shape alone, each
// task writes its own part of the output, and only the assignment of tasks to workers depends on the schedule. Each worker
// starts with its own range of tasks, the same for the same number of tasks, and takes tasks of the others at the end.
// Starting a run allocates nothing, and idle workers spin for a millisecond before they sleep, because a training step
// starts thousands of runs a short time apart.
//
// It must not know what a tensor operation is.
package pool
