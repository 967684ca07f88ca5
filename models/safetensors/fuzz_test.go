package safetensors

import (
	"bytes"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever is accepted can be read in full and written again; whatever is not
// is a FormatError.
func FuzzRead(f *testing.F) {
	f.Add(encode(f, nil, map[string]string{"format": "pt"}))
	all := oneOfEach()
	for _, name := range slices.Sorted(maps.Keys(all)) { // small seeds, which are quick to minimise
		f.Add(encode(f, map[string]Tensor{name: all[name]}, nil))
	}
	for _, list := range [][]attack{syntaxAttacks(), valueAttacks(), coverAttacks()} {
		for _, c := range list {
			if len(c.head) < 1000 {
				f.Add(raw(c.head, c.dataLen))
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			var format *FormatError
			require.ErrorAs(t, err, &format)
			require.Nil(t, file)
			return
		}
		require.True(t, slices.IsSorted(file.Names()))
		all := contents(t, file)
		total := 0
		for name, x := range all {
			_, err := x.Len()
			require.NoError(t, err)
			dtype, shape, err := file.Info(name)
			require.NoError(t, err)
			require.Equal(t, Tensor{dtype, shape, x.Data}, x)
			total += len(x.Data)
		}
		require.LessOrEqual(t, total, len(data)-8)
		written := encode(t, all, file.Metadata())
		again := decode(t, written)
		require.Equal(t, all, contents(t, again))
		require.Equal(t, file.Metadata(), again.Metadata())
		require.True(t, bytes.Equal(written, encode(t, contents(t, again), again.Metadata())))
	})
}

// Whatever the index says, its shards are names of files in the directory.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":8,"x":[{}]},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"b"}}`))
	for _, c := range indexAttacks() {
		f.Add([]byte(c.index))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		weights, err := parseIndex(text)
		if err != nil {
			var format *FormatError
			require.ErrorAs(t, err, &format)
			return
		}
		require.NotEmpty(t, weights)
		for _, shard := range weights {
			path := filepath.Join("checkpoint", shard)
			require.Equal(t, "checkpoint", filepath.Dir(path))
			require.Equal(t, shard, filepath.Base(path))
		}
	})
}
