package otfuse_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// goBlock finds the Go in a page of Markdown.
var goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")

// TestREADME vets the programs of the README and looks up its excerpts, which
// must stand in a source file that the README links to.
func TestREADME(t *testing.T) {
	page, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := goBlock.FindAllStringSubmatch(string(page), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		if !strings.HasPrefix(block[1], "package main") {
			assert.True(t, quoted(t, string(page), block[1]), "no file that the README links to has\n%s", block[1])
			continue
		}
		file := filepath.Join(t.TempDir(), "main.go")
		require.NoError(t, os.WriteFile(file, []byte(block[1]), 0o600))
		out, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput()
		assert.NoError(t, err, "%s\n%s", out, block[1])
		out, err = exec.CommandContext(t.Context(), "gofmt", "-l", file).CombinedOutput()
		assert.NoError(t, err)
		assert.Empty(t, string(out), "not formatted:\n%s", block[1])
	}
}

// TestLinks follows the links of all pages to files of the repository.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)|src="([^":]+)"`)
	pages, err := exec.CommandContext(t.Context(), "git", "ls-files", "*.md").Output()
	if err != nil {
		t.Skip("not a git checkout: ", err)
	}
	for page := range strings.FieldsSeq(string(pages)) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			target := filepath.Join(filepath.Dir(page), found[1]+found[2])
			_, err := os.Stat(target)
			assert.NoError(t, err, "%s links to %s", page, target)
		}
	}
}

// quoted tells whether code stands, at any indentation, in a Go file that a page
// links to.
func quoted(t *testing.T, page, code string) bool {
	link := regexp.MustCompile(`\]\(([^)]+\.go)\)`)
	for _, found := range link.FindAllStringSubmatch(page, -1) {
		source, err := os.ReadFile(found[1])
		require.NoError(t, err)
		if strings.Contains(unindented(string(source)), unindented(code)) {
			return true
		}
	}
	return false
}

// unindented returns text without the tabs at the start of its lines.
func unindented(text string) string {
	return regexp.MustCompile(`(?m)^\t+`).ReplaceAllString(text, "")
}
