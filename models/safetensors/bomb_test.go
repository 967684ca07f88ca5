package safetensors

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/bounded/boundedtest"
)

// manyMembers is an object of so many keys, all with the same value.
func manyMembers(n int, value string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"%d":%s`, i, value)
	}
	return "{" + b.String()[1:] + "}"
}

// TestHeaderBombs: a header takes a small multiple of its size, and an error about it
// is one line.
func TestHeaderBombs(t *testing.T) {
	const empty = `{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`
	for name, head := range map[string]string{
		"tensors":  manyMembers(140_000, empty),
		"metadata": `{"__metadata__":` + manyMembers(140_000, `""`) + "}",
	} {
		data := raw(head, 0)
		boundedtest.Require(t, boundedtest.Hostile, func() {
			_, err := Parse(bytes.NewReader(data), int64(len(data)))
			require.ErrorContains(t, err, "more than 131072 keys", name)
			require.Less(t, len(err.Error()), 500)
		})
	}
	index := `{"weight_map":` + manyMembers(140_000, `"a"`) + "}"
	boundedtest.Require(t, boundedtest.Hostile, func() {
		_, err := parseIndex([]byte(index))
		require.ErrorContains(t, err, "more than 131072 keys")
	})
}

// TestSparseFiles: a file of a hole is refused, whatever its header claims; one that is
// written is not, and neither is a small one.
func TestSparseFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	file := func(size, kept int) {
		head := raw(fmt.Sprintf(`{"x":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}`, size, size), 0)
		require.NoError(t, os.WriteFile(path, append(head, bytes.Repeat([]byte{1}, kept)...), 0o600))
		require.NoError(t, os.Truncate(path, int64(len(head)+size)))
	}
	file(1<<40, 5)
	f, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	if written(f, 1<<40, 1<<30) >= 1<<30 {
		t.Skip("this file system does not know of holes")
	}
	boundedtest.Require(t, boundedtest.Slack, func() {
		_, err := Open(path)
		require.ErrorContains(t, err, "a sparse file: it claims 1099511627")
		require.ErrorContains(t, err, path)
	})
	for _, c := range []struct{ size, kept int }{{1 << 20, 0}, {80 << 20, 2 << 20}} {
		file(c.size, c.kept)
		f, err := Open(path)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
}
