// Package pool runs numbered tasks on a fixed set of workers.
//
// It is what makes the CPU backend parallel and still deterministic: the caller cuts its work into tasks by shape
// alone, each task writes its own part of the output, and only which worker performs a task is left to chance. Each
// begins with a share of its own, the same for the same number of tasks, and helps with the others' at the end.
// Starting a run allocates nothing, and idle workers spin for a millisecond before they sleep, because a training step
// starts thousands of runs a short time apart.
//
// It must not know what a tensor operation is.
package pool
