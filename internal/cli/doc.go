// Package cli is what the programs share: progress on stderr, results as a
// table and as JSON, one line and status 2 for what went wrong.
package cli
