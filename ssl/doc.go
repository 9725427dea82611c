// Package ssl is self-supervised training: losses over prototypes, centring, masks, the student and its moving
// average, and the step that joins them. A recipe is data (Settings), not a class: backbone, losses, centring,
// masking and schedules combine freely.
//
// Formulas are those of DINO (arXiv 2104.14294), iBOT (2111.07832), DINOv2 (2304.07193) and DINOv3 (2508.10104).
// The room knows models, optimisers and kernels. It must not know YAML, run folders, files of images or how a
// number is shown; those are ssl/config and ssl/run. Nothing below it knows what DINO is.
package ssl
