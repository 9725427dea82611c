package main

import "regexp"

// override is the form of a key=value argument: a section, a dot, a key.
var override = regexp.MustCompile(`^[a-z_]+\.[A-Za-z0-9_]+=`)

// overridesLast moves key=value arguments behind the flags, so that they may stand anywhere.
func overridesLast(args []string) []string {
	var first, last []string
	for _, a := range args {
		if override.MatchString(a) {
			last = append(last, a)
		} else {
			first = append(first, a)
		}
	}
	return append(first, last...)
}
