// Package limits runs a program in a child process where the system limits its memory or its threads. Go's runtime dies
// of such a limit with a dump of its stacks; the supervisor turns that into one line and exit code 1. It must not know
// what the program does.
package limits
