// Package embed writes the features of images to a file: .npy, .parquet or .csv. Rows go to a raw file beside the
// result first, so that an interrupted job goes on where it stopped, and the result appears whole or not at all.
//
// The package must not know where a model comes from, nor how progress is shown.
package embed
