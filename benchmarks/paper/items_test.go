package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// timeless is what a file of results says, but for times and machines.
func timeless(t *testing.T, path string) any {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var out any
	require.NoError(t, json.Unmarshal(text, &out))
	return withoutTimes(out)
}

func withoutTimes(v any) any {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "seconds")
		for key, field := range v {
			v[key] = withoutTimes(field)
		}
	case []any:
		for i, element := range v {
			v[i] = withoutTimes(element)
		}
	}
	return v
}

// TestItems: processes that share the tables, of which two want the same parents at the
// same time, find what one process finds.
func TestItems(t *testing.T) {
	s := shrunk(tiny())
	s.Main.Train.Epochs, s.Tune.Epochs, s.Draws = 0.5, 0.5, 1
	names := []string{"qk", "finetuned"}
	one := newBench(t, s)
	one.names, one.item = names, -1
	require.NoError(t, one.work(t.Context(), io.Discard))
	require.Len(t, one.distinctParents(), 2)

	out, cache := t.TempDir(), t.TempDir()
	var working sync.WaitGroup
	errs := make([]error, len(names))
	for i := range names {
		b := newBench(t, s)
		b.names, b.item, b.out, b.cache = names, i, out, cache
		working.Go(func() { errs[i] = b.work(t.Context(), io.Discard) })
	}
	working.Wait()
	for i, name := range names {
		require.NoError(t, errs[i])
		require.Equal(t, timeless(t, filepath.Join(one.out, name+".json")), timeless(t, filepath.Join(out, name+".json")))
	}
	page, err := os.ReadFile(filepath.Join(out, "README.md"))
	require.NoError(t, err)
	require.Equal(t, len(names), strings.Count(string(page), "\n## "))
	left, err := filepath.Glob(filepath.Join(cache, "tuning-*", "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestTrainParents: the first stage trains each parent once, by its index.
func TestTrainParents(t *testing.T) {
	s := shrunk(tiny())
	s.Main.Train.Epochs, s.Narrow.Train.Epochs = 0.2, 0.2
	b := newBench(t, s)
	b.names, b.train = []string{"compress", "widen", "qk"}, true
	all := b.distinctParents()
	require.Len(t, all, 3, "two wide, one narrow")
	st := &study{bench: b, task: b.images}
	for i, k := range all {
		b.item = i
		require.NoDirExists(t, st.cached(k))
		require.NoError(t, b.work(t.Context(), io.Discard))
		require.DirExists(t, st.cached(k))
	}
	b.item = len(all)
	require.ErrorContains(t, b.work(t.Context(), io.Discard), "-item is 3, and the items are 0 to 2")
}

// TestManifests: the array jobs of the documentation have as many items as there are.
func TestManifests(t *testing.T) {
	b := bench{options: options{scale: tiny(), names: names(tiny())}}
	parents, tables := len(b.distinctParents()), len(b.names)
	for file, want := range map[string][]string{
		"paper-items.yaml":   {fmt.Sprintf("completions: %d\n", parents), fmt.Sprintf("completions: %d\n", tables)},
		"paper-items.sbatch": {fmt.Sprintf("--array=0-%d ", parents-1), fmt.Sprintf("--array=0-%d ", tables-1)},
	} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", "manifests", file))
		require.NoError(t, err)
		for _, count := range want {
			require.Contains(t, string(text), count)
		}
	}
}
