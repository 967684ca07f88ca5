package otfuse_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTroubleshooting: the messages of docs/troubleshooting.md are those of the code.
func TestTroubleshooting(t *testing.T) {
	var code strings.Builder
	require.NoError(t, filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		code.Write(text)
		return err
	}))
	// A message may go on in the next line of the code.
	source := regexp.MustCompile(`"\s*\+\s*"`).ReplaceAllString(code.String(), "")
	page, err := os.ReadFile(filepath.Join("docs", "troubleshooting.md"))
	require.NoError(t, err)
	found := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, message := range regexp.MustCompile("`[^`]+`").FindAllString(cells[1], -1) {
			for part := range strings.SplitSeq(strings.Trim(message, "`"), "…") {
				if part = strings.TrimSpace(part); len(part) > 6 {
					assert.Containsf(t, source, part, "no program says %q of %s", part, message)
					found++
				}
			}
		}
	}
	require.Greater(t, found, 20)
}
