package cli

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
)

func TestOneLine(t *testing.T) {
	require.Equal(t, "a: b; c; d", OneLine(fmt.Errorf("a: b\r\n%s", "c\nd")))
}

// captured returns what f prints to a standard stream.
func captured(t *testing.T, stream **os.File, f func()) string {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	old := *stream
	*stream = w
	f()
	*stream = old
	require.NoError(t, w.Close())
	text, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(text)
}

// TestParse: help goes to stdout, a mistake is an error that names the program and
// prints nothing.
func TestParse(t *testing.T) {
	var n int
	parse := func(args ...string) (out, log string, err error) {
		f := flag.NewFlagSet("program", flag.ContinueOnError)
		f.IntVar(&n, "n", 1, "a `number`")
		log = captured(t, &os.Stderr, func() {
			out = captured(t, &os.Stdout, func() { err = Parse(f, args) })
		})
		return out, log, err
	}
	out, log, err := parse("-n", "3")
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.Empty(t, out+log)
	out, log, err = parse("-h")
	require.ErrorIs(t, err, flag.ErrHelp)
	require.Contains(t, out, "-n number")
	require.Empty(t, log)
	out, log, err = parse("-n", "x")
	require.ErrorContains(t, err, "program: invalid value")
	require.ErrorContains(t, err, "-h explains the flags")
	require.Empty(t, out+log)
}

// TestWritable: directories are made, what blocks them is an error, and nothing is
// left behind.
func TestWritable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	require.NoError(t, Writable(dir))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.Error(t, Writable(filepath.Join(file, "c")))
}

// TestReplaceable: a checkpoint may be replaced, files of somebody else may not.
func TestReplaceable(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, Replaceable(filepath.Join(dir, "new")))
	require.NoError(t, Replaceable(dir), "an empty directory")
	file := filepath.Join(dir, "thesis.txt")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.ErrorContains(t, Replaceable(dir), dir)
	require.Error(t, Replaceable(filepath.Join(file, "x")))
}

// TestApart: an output that is an input, holds one or lies in one is refused by
// whatever path.
func TestApart(t *testing.T) {
	dir := t.TempDir()
	input, link := filepath.Join(dir, "a", "input"), filepath.Join(dir, "link")
	require.NoError(t, os.MkdirAll(input, 0o755))
	require.NoError(t, os.Symlink(input, link))
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Link(file, filepath.Join(dir, "same")))
	t.Chdir(dir)
	for output, says := range map[string]string{input: "is an input", "a": "holds", link: "is an input",
		filepath.Join(link, "new", "x"): "lies in", "a/../a/input/x": "lies in", "file": "is an input",
		"same": "is an input"} {
		require.ErrorContains(t, Apart(output, "", input, file), says, output)
	}
	for _, output := range []string{"b", "a/inputs", "a/other", "file2", link + "2"} {
		require.NoError(t, Apart(output, "", input, file), output)
	}
}

// TestNoticeStages: a stage is told once, however often it is reported.
func TestNoticeStages(t *testing.T) {
	text := captured(t, &os.Stderr, func() {
		observe := NoticeStages("set")
		for done := range 3 {
			observe(models.Progress{Stage: "reading", Item: "a", Done: done})
		}
		observe(models.Progress{Stage: "reading", Item: "b"})
	})
	require.Equal(t, "set: reading a\nset: reading b\n", text)
}

// TestProgress: without a terminal nothing is drawn, and steps are cheap.
func TestProgress(t *testing.T) {
	text := captured(t, &os.Stderr, func() {
		p := NewProgress("work", 3, 1)
		p.Step("loss 1")
		p.Step("loss 2")
		p.Done()
	})
	require.Empty(t, text)
}
