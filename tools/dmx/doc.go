// Command dmx trains, evaluates and inspects self-supervised vision transformers.
//
// Each command is one file: a struct whose fields are its arguments and whose Run does the work. main.go lists
// the commands; adding one is a file and a line there. The exit code is 0, 1 for an error, 2 for a mistake in the
// arguments.
package main
