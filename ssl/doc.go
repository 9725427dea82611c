// Package ssl is self-supervised training: models and teachers, the step that joins them with the terms of an objective,
// and the state of a run. A recipe is data (Settings), not a class: backbone, adapters, teacher, terms, views, masking and
// schedules combine freely.
//
// Build makes the models in one order: the student is built and drawn, adapters are added, weights are loaded, parameters
// are frozen, and teachers follow. A Trainer then makes steps in four phases:
//
//   - teacher.go: the teacher runs on every micro-batch, and its bottlenecks are kept;
//   - teacher.go: every term forms what depends on all images of the step (loss.Term.Prepare);
//   - student.go: the student runs on every micro-batch, and gradients add up (loss.Term.Backward);
//   - update.go: student, EMA teacher and the terms' state are updated once, unless something is not finite.
//
// What is random is keyed by the place of an image in the batch of all processes, so that neither micro-batches nor
// processes change a step.
//
// The room knows models, optimisers and kernels. It must not know YAML, run folders, files of images or how a number is
// shown; those are ssl/config and ssl/run. The losses are in ssl/loss. Nothing below it knows what DINO is.
package ssl
