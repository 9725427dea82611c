// Package data turns files into batches of views: sources list samples and decode one by index, a transform cuts
// the views of a sample as a pure function of (pixels, seed, epoch, sample, view), and the loader is a bounded
// pipeline of workers whose batches come in an order that depends on nothing but the seed.
//
// The room knows images and tensors. It must not know models, losses or what a view is used for.
package data
