package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakePython makes an environment, installs everything but PyTorch, and knows MDOT where
// the packages of another Python were linked.
const fakePython = `#!/bin/sh
case "$*" in
"-m venv"*) mkdir -p "$4/bin" "$4/site" && cp "$0" "$4/bin/python" ;;
*"requirements.txt"*)
	for word in "$@"; do case "$word" in *requirements.txt) list=$word ;; esac; done
	echo "$(head -n 1 "$list")" >> "$PEERS_LOG"
	if grep -q '^torch' "$list"; then echo "first line"; echo "no such wheel"; exit 1; fi ;;
*sysconfig*) echo "$(dirname "$(dirname "$0")")/site" ;;
*"import mdot_tnt"*) test -e "$(dirname "$(dirname "$0")")"/site/*.pth ;;
*torch*) echo /packages ;;
esac
`

// TestInstall installs peers once, and says what to do where PyTorch cannot be had.
func TestInstall(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the cache of other systems cannot be moved")
	}
	bin, cache, log := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "log")
	python := filepath.Join(bin, "python3")
	require.NoError(t, os.WriteFile(python, []byte(fakePython), 0o700))
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("PEERS_LOG", log)
	t.Setenv("OTFUSE_PYTHON", "")
	installed := func() []string {
		text, err := os.ReadFile(log)
		require.NoError(t, err)
		return strings.Fields(string(text))
	}

	for range 2 {
		got, err := installPeers(t.Context(), []string{"scipy"})
		require.NoError(t, err)
		require.FileExists(t, got)
		require.Len(t, installed(), 1, "the second time nothing is installed")
	}
	_, err := installPeers(t.Context(), []string{"scipy", "mdot"})
	require.ErrorContains(t, err, "no such wheel")
	require.ErrorContains(t, err, "OTFUSE_PYTHON")
	require.NotContains(t, err.Error(), "first line")

	t.Setenv("OTFUSE_PYTHON", python)
	got, err := installPeers(t.Context(), []string{"mdot"})
	require.NoError(t, err)
	link, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(got)), "site", "torch-of-another-python.pth"))
	require.NoError(t, err)
	require.Equal(t, "/packages\n", string(link))
	require.Len(t, installed(), 3, "the peers, MDOT and the attempt at PyTorch")
}

// TestInstallWithoutPython says how to go on where there is no Python.
func TestInstallWithoutPython(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	_, err := installPeers(t.Context(), []string{"scipy"})
	require.ErrorContains(t, err, "-peers none runs without them")
}
