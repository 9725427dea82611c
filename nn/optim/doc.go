// Package optim updates parameters: AdamW in one pass with the teacher's moving average, parameter groups by
// the rules of the DINO recipes, the three clipping modes, and the schedules of learning rate, weight decay,
// temperature and momentum.
//
// It knows parameters by their kind and depth. It must not know losses, data or ranks.
package optim
