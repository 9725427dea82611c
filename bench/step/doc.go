// Package step measures one training step of a vision transformer from end to end, data loading aside.
//
// It must not be imported: it holds benchmarks and their recorded tables.
package step
