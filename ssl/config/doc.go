// Package config is the configuration of a run: the YAML keys, their defaults, documentation and allowed
// values, the embedded recipes, and the errors a mistake in a file or an override produces.
//
// Keys and defaults are those of DINO-MX (arXiv 2511.01610) and its released code; keys of our own stand
// beside them. Reading is strict: an unknown or repeated key is an error that names the nearest known one.
//
// It must not know how a recipe is carried out: it imports nothing of ours, and package ssl/run turns a
// Config into a model, a loader and a trainer.
package config
