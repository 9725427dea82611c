// Package loss holds the terms of the training objective, one file each: DINO, iBOT, KoLeo and Gram anchoring.
//
// A Term says which rows of the student and of its teachers it reads; the trainer computes those, and the term adds its
// weighted loss and starts the student's gradients. Everything else that a step has to know about an objective, its
// metrics, its state in checkpoints, its FLOPs and its memory, is asked of the terms in turn, so that a new one is one
// file here and one line where a recipe is put together.
//
// Formulas are those of DINO (arXiv 2104.14294), iBOT (2111.07832), DINOv2 (2304.07193) and DINOv3 (2508.10104).
// The package knows tapes, backends and the shapes of heads. It must not know trainers, checkpoints or configurations.
package loss
