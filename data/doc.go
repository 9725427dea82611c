// Package data holds what the stages of the input share: the image, the sample, the source that lists samples, the
// transform that makes the views of one. data/source reads files, data/decode the pixels in them, data/augment makes
// views, data/loader batches.
//
// The room knows images and tensors. It must not know models, losses or what a view is used for.
package data
