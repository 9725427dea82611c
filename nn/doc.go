// Package nn holds the layers, the one vision transformer that covers all published families, projection
// heads, low-rank adapters, and the registry of parameters under their Hugging Face names.
//
// Modules are plain structs with exported fields and a Forward on an autograd.Tape; training and inference use the
// same Forward. All crops of a step go through the trunk in one packed token matrix. A model is made from a Builder
// (backend, element type) and a config; nothing is global.
//
// The room must not know what DINO is, where images come from, or that there are ranks.
package nn
