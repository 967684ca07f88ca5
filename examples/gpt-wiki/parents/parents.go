// Package parents embeds the causal language models that are shipped; README.md
// beside it says how they were made. Package internal/parents opens them.
package parents

import "embed"

//go:embed *-seed*
var files embed.FS

// Files returns the checkpoint directories FAMILY-SET-seedN.
func Files() embed.FS { return files }
