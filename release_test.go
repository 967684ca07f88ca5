package otfuse_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRelease: the latest version of the changelog has its notes, and one date everywhere.
func TestRelease(t *testing.T) {
	read := func(path ...string) string {
		text, err := os.ReadFile(filepath.Join(path...))
		require.NoError(t, err)
		return string(text)
	}
	heading := regexp.MustCompile(`(?m)^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$`)
	latest := heading.FindStringSubmatch(read("CHANGELOG.md"))
	require.Len(t, latest, 3, "no version with its date")
	version, date := latest[1], latest[2]
	citation := read("CITATION.cff")
	assert.Contains(t, citation, "\nversion: "+version+"\n")
	assert.Contains(t, citation, "\ndate-released: \""+date+"\"\n")
	notes := read("docs", "releases", "v"+version+".md")
	assert.Regexp(t, "^# v"+regexp.QuoteMeta(version)+", "+date+"\n", notes)
	assert.Contains(t, notes, "\notfuse v"+version+"\n")
}
