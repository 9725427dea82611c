// Package hub fetches files of Hugging Face repositories into the cache that Python tools share, and finds them there.
// A file is downloaded under the lock that other clients respect, resumed after an interruption, checked against the
// hash that the hub announces, and renamed into place only then. The access token is sent to no other host.
//
// It must not know what a model is, except for the names of the files that Model downloads.
package hub
