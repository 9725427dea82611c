// Package hub fetches files of Hugging Face repositories into the cache that Python tools share, and finds them
// there. A file is downloaded under the lock other clients honour, resumed after an interruption, checked against
// the hash the hub announces, and only then given its name; the access token never reaches another host.
//
// It must not know what a model is, except for which files Model asks for.
package hub
