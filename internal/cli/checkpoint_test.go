package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models/gomlx/backend"
	"github.com/otfuse/otfuse/models/hub"
)

// TestCheckpoints: directories and what can be no id stay as they are; an id that the
// cache lacks and nobody may fetch is an error that names it.
func TestCheckpoints(t *testing.T) {
	t.Setenv("HF_HOME", t.TempDir())
	t.Setenv("HF_HUB_CACHE", "")
	t.Setenv("HF_HUB_OFFLINE", "1")
	dir := t.TempDir()
	got, err := Checkpoints(t.Context(), dir, "./nowhere")
	require.NoError(t, err)
	require.Equal(t, []string{dir, "./nowhere"}, got)
	_, err = Checkpoints(t.Context(), dir, "owner/name")
	require.ErrorIs(t, err, hub.ErrUnavailable)
	require.ErrorContains(t, err, "owner/name")

	path, err := Tokenizer(t.Context(), "./vocab.txt")
	require.NoError(t, err)
	require.Equal(t, "./vocab.txt", path)
	_, err = Tokenizer(t.Context(), "owner/name")
	require.ErrorIs(t, err, hub.ErrUnavailable)
}

// TestNobodyAgrees: without a terminal nothing large is downloaded.
func TestNobodyAgrees(t *testing.T) {
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer func(old *os.File) { os.Stdin = old }(os.Stdin)
	os.Stdin = null
	asked := captured(t, &os.Stderr, func() { require.False(t, agrees(t.Context(), backend.Download{What: "a plugin"})) })
	require.Empty(t, asked)
}

// TestInputsAreNotReplaced: an output that is an input is refused before any other question.
func TestInputsAreNotReplaced(t *testing.T) {
	dir := t.TempDir()
	require.ErrorContains(t, Replaceable(dir, dir), "an input")
	require.ErrorContains(t, Replaceable(filepath.Join(dir, "out"), dir), "an input")
}

// TestProgressSpeaks: where there is no terminal a line tells now and then how long it
// takes yet, and a bar has the note beside it.
func TestProgressSpeaks(t *testing.T) {
	text := captured(t, &os.Stderr, func() {
		p := NewProgress("work", 4, 1)
		p.noticed, p.started = p.noticed.Add(-plainEvery), p.started.Add(-10*time.Second)
		p.Step("loss 1")
		p.Step("loss 2") // soon after
	})
	require.Equal(t, "work: 2 of 4, loss 1, 20s left\n", text)

	var drawn bytes.Buffer
	p := NewProgress("work", 3, 0)
	p.bar = progressbar.NewOptions(3, progressbar.OptionSetWriter(&drawn))
	p.Step("loss 0.5")
	require.Contains(t, drawn.String(), "work, loss 0.5")
	p.Done()
	require.True(t, p.bar.IsFinished())
}
