package safetensors

import (
	"bytes"
	"fmt"
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
