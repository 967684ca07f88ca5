// Package parents embeds the networks on text that are shipped; README.md beside it
// says how they were made. Package internal/parents opens them.
package parents

import "embed"

//go:embed *-seed*
var files embed.FS

// Files returns the checkpoint directories SET-seedN.
func Files() embed.FS { return files }
