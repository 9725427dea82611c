// Package augment cuts the views of an image: random resized crops with antialiased bicubic filters, flips, colour
// jitter, grey, Gaussian blur, solarisation, normalisation. The arithmetic is Pillow's, level by level, so that a
// model sees the pixels it would see under the recipes' original implementations.
//
// Every draw comes from a stream keyed by seed, epoch, sample and view. The package knows pixels; it must not know
// models or files.
package augment
