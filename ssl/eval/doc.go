// Package eval measures what features are worth: nearest neighbours and a linear probe on frozen features, and the
// same on raw pixels as the floor that training must rise above.
//
// Accuracies are shares from 0 to 1, of queries that have a label. The package knows models as something that gives
// features; it must not know losses, recipes or how a number is shown.
package eval
