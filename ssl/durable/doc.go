// Package durable writes files that are whole or not there, also after a crash, and locks them against a second
// process. It must not know what the files hold.
package durable
