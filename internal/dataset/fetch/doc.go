// Package fetch downloads files for everybody in this module: data sets and
// accelerator plugins.
//
// A file appears under its name whole and verified, or not at all. What has
// arrived is kept beside it in NAME.part, and the next attempt or the next
// process continues it. Of several processes that want the same file one
// downloads it and the others wait for it: NAME.lock holds the lock.
//
// An attempt ends when the server is silent for too long, when the file is
// larger than its limit and when the context ends. Broken connections and
// answers that say "later" are tried again; a network that cannot be reached is
// an error at once, so that programs can go on without it.
package fetch
