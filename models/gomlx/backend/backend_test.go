package backend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
)

// goName is what the pure Go backend calls itself.
const goName = "Go Backend"

// tookGo is what the log of [TestOpenHere] says of it.
const tookGo = `took: "` + goName + `"`

// lines collects what an observer is told.
type lines struct {
	mu   sync.Mutex
	said []string
	last models.Progress
}

func (l *lines) add(p models.Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said, l.last = append(l.said, p.Item), p
}

// TestOpenHere opens what this process can have. [openInChild] runs it again in
// other environments and reads its log.
func TestOpenHere(t *testing.T) {
	var told lines
	b, err := Open(t.Context(), told.add)
	for _, line := range told.said {
		t.Log("told: " + line)
		assert.NotContains(t, line, "\n")
	}
	require.NoError(t, err)
	defer b.Finalize()
	t.Logf("took: %q", b.Name())
	out, err := graph.CallOnce(b, func(x *graph.Node) *graph.Node {
		return graph.ReduceAllSum(graph.MatMul(x, x))
	}, [][]float32{{1, 2}, {3, 4}})
	require.NoError(t, err)
	defer out.MustFinalizeAll()
	assert.Equal(t, float32(7+10+15+22), out.Value())
	require.NotEmpty(t, told.said)
	assert.Equal(t, models.Progress{Stage: Stage, Item: "backend: " + b.Description(), Done: 1, Total: 1}, told.last)
	assert.Equal(t, 1, strings.Count("\n"+strings.Join(told.said, "\n"), "\nbackend: "))
}

func TestOpenGo(t *testing.T) {
	for _, config := range []string{"go", "go:", "go:ops_sequential"} {
		t.Setenv(compute.ConfigEnvVar, config)
		var told lines
		b, err := Open(t.Context(), told.add)
		require.NoError(t, err)
		assert.Equal(t, goName, b.Name())
		assert.Equal(t, []string{"backend: " + b.Description()}, told.said)
		b.Finalize()
	}
}

func TestOpenWithoutObserver(t *testing.T) {
	t.Setenv(compute.ConfigEnvVar, "go")
	b, err := Open(t.Context(), nil)
	require.NoError(t, err)
	b.Finalize()
}

func TestOpenUnknown(t *testing.T) {
	for _, config := range []string{"abacus", "abacus:beads=10", ":cpu"} {
		t.Setenv(compute.ConfigEnvVar, config)
		b, err := Open(t.Context(), nil)
		require.ErrorIs(t, err, ErrUnknown, config)
		require.ErrorContains(t, err, fmt.Sprintf("%q", config))
		assert.Nil(t, b, "a backend beside an error: %#v", b)
	}
}

func TestOpenUnusable(t *testing.T) {
	for _, config := range []string{"xla:/no/such/pjrt_c_api_cpu_plugin.so", "go:no_such_option"} {
		t.Setenv(compute.ConfigEnvVar, config)
		b, err := Open(t.Context(), nil)
		require.ErrorContains(t, err, fmt.Sprintf("%q", config))
		assert.Nil(t, b, "a backend beside an error: %#v", b)
	}
}

func TestOpenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b, err := Open(ctx, nil)
	require.ErrorIs(t, err, context.Canceled)
	assert.Nil(t, b)
}

func TestOpenTogether(t *testing.T) {
	t.Setenv(compute.ConfigEnvVar, "go")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			b, err := Open(t.Context(), nil)
			if assert.NoError(t, err) {
				b.Finalize()
			}
		})
	}
	wg.Wait()
}

// openInChild returns the log of [TestOpenHere] in a process without programs in
// its path, without a network and without caches; env is added to that. Some of
// it go-xla reads before a test could change it.
func openInChild(t *testing.T, env ...string) string {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestOpenHere$", "-test.v")
	cmd.Env = append([]string{
		"HOME=" + home,
		"PATH=",
		"PJRT_PLUGIN_LIBRARY_PATH=" + home,
		"HTTPS_PROXY=http://127.0.0.1:9", // nobody listens to what the installer asks
	}, env...)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return string(out)
}

func TestOpenFallsBack(t *testing.T) {
	t.Parallel()
	said := openInChild(t)
	assert.Contains(t, said, "told: NOTICE: XLA: ")
	assert.Contains(t, said, "the pure Go backend takes over and is many times slower ($GOMLX_BACKEND chooses another)")
	assert.Contains(t, said, "told: backend: ")
	assert.Contains(t, said, tookGo)
}

func TestOpenFallsBackWithoutHome(t *testing.T) {
	t.Parallel()
	said := openInChild(t, "HOME=", "XDG_CACHE_HOME=")
	assert.Contains(t, said, "told: NOTICE: XLA: ")
	assert.Contains(t, said, tookGo)
}

func TestOpenXLAOrNothing(t *testing.T) {
	t.Parallel()
	for _, config := range []string{"xla", "xla:", "xla:cpu"} {
		said := openInChild(t, compute.ConfigEnvVar+"="+config)
		assert.Contains(t, said, "backend: XLA: ", config)
		assert.NotContains(t, said, "took:", config)
	}
}

func TestOpenPassesOverBrokenPlugin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pjrt_c_api_cpu_plugin.so"), []byte("no library"), 0o644))
	said := openInChild(t, "PJRT_PLUGIN_LIBRARY_PATH="+dir)
	assert.Contains(t, said, tookGo)
	if strings.Contains(said, ErrUnknown.Error()) {
		return // a build without XLA has no plugin to break
	}
	assert.Contains(t, said, "installed XLA plugins passed over, one of them is broken")
}
