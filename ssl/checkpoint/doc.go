// Package checkpoint keeps folders iter_N, each the state after N steps: written under a temporary name, synced and
// renamed, with a manifest of SHA-256 sums that is verified before anything is read. A folder is whole or not there;
// a damaged one is reported and the next older one wins.
//
// The package must not know what is inside a checkpoint.
package checkpoint
