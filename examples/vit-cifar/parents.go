package main

import "embed"

// shipped holds the parents that come with the program; parents/README.md says
// how they were made.
//
//go:embed parents
var shipped embed.FS
