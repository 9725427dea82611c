// Package run carries out a configuration: it makes the run folder, builds source, loader, model and trainer,
// drives the steps, writes the log, the metrics and the checkpoints, evaluates, and stops cleanly on a signal.
//
// Folder layout, log line and checkpoint names are those of DINO-MX. It must not know how a loss or a gradient
// is computed; that is package ssl's. It writes nothing to the terminal: the command line draws what the
// callbacks of Options report.
package run
