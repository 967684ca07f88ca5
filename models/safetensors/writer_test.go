package safetensors_test

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models/safetensors"
)

// mixed are tensors of several types, one of them empty and one a scalar.
func mixed(t *testing.T) (map[string]safetensors.Tensor, map[string]safetensors.Info) {
	t.Helper()
	tensors := map[string]safetensors.Tensor{}
	add := func(name string, dtype safetensors.DType, shape []int, data ...float32) {
		x, err := safetensors.FromFloat32(dtype, shape, data)
		require.NoError(t, err)
		tensors[name] = x
	}
	add("b", safetensors.F32, []int{2, 2}, 1, 2, 3, 4)
	add("a", safetensors.F16, []int{3}, 5, 6, 7)
	add("c", safetensors.BF16, []int{0})
	add("d", safetensors.F32, nil, 8)
	integers, err := safetensors.FromInt64([]int{2}, []int64{9, 10})
	require.NoError(t, err)
	tensors["e"] = integers
	infos := map[string]safetensors.Info{}
	for name, x := range tensors {
		infos[name] = safetensors.Info{DType: x.DType, Shape: x.Shape}
	}
	return tensors, infos
}

// Tensors that come one by one, in any order, make the file that all of them make at once.
func TestWriterBytes(t *testing.T) {
	tensors, infos := mixed(t)
	metadata := map[string]string{"format": "pt"}
	var want bytes.Buffer
	require.NoError(t, safetensors.Write(&want, tensors, metadata))
	for _, order := range [][]string{{"a", "b", "c", "d", "e"}, {"e", "c", "a", "d", "b"}} {
		dir := t.TempDir()
		w, err := safetensors.Create(dir, infos, metadata, 0)
		require.NoError(t, err)
		for _, name := range order {
			require.NoError(t, w.Write(name, tensors[name]))
		}
		require.NoError(t, w.Close())
		got, err := os.ReadFile(filepath.Join(dir, safetensors.SingleName))
		require.NoError(t, err)
		assert.Equal(t, want.Bytes(), got)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Len(t, entries, 1)
	}
}

// Shards hold up to their size of tensors, and read as one checkpoint.
func TestWriterShards(t *testing.T) {
	tensors, infos := mixed(t)
	dir := t.TempDir()
	w, err := safetensors.Create(dir, infos, nil, 20)
	require.NoError(t, err)
	for name, x := range tensors {
		require.NoError(t, w.Write(name, x))
	}
	require.NoError(t, w.Close())

	text, err := os.ReadFile(filepath.Join(dir, safetensors.IndexName))
	require.NoError(t, err)
	var index struct {
		Metadata struct {
			Total int64 `json:"total_size"`
		} `json:"metadata"`
		Map map[string]string `json:"weight_map"`
	}
	require.NoError(t, json.Unmarshal(text, &index))
	assert.EqualValues(t, 16+6+0+4+16, index.Metadata.Total)
	assert.Equal(t, map[string]string{
		"a": "model-00001-of-00003.safetensors", // 6 bytes
		"b": "model-00002-of-00003.safetensors", // 16 bytes, which the first has no room for
		"c": "model-00002-of-00003.safetensors", // empty
		"d": "model-00002-of-00003.safetensors", // 4 bytes
		"e": "model-00003-of-00003.safetensors",
	}, index.Map)

	read, err := safetensors.OpenDir(dir)
	require.NoError(t, err)
	defer read.Close()
	for name, want := range tensors {
		got, err := read.Tensor(name)
		require.NoError(t, err)
		assert.Equal(t, want.Data, got.Data)
	}
}

func TestWriterErrors(t *testing.T) {
	tensors, infos := mixed(t)
	open := func() *safetensors.Writer {
		w, err := safetensors.Create(t.TempDir(), infos, nil, 0)
		require.NoError(t, err)
		return w
	}
	var malformed *safetensors.FormatError

	w := open()
	for _, name := range []string{"a", "c", "d", "e"} {
		require.NoError(t, w.Write(name, tensors[name]))
	}
	require.ErrorAs(t, w.Close(), &malformed, "a tensor is missing")
	assert.Equal(t, "b", malformed.Tensor)

	w = open()
	require.ErrorIs(t, w.Write("other", tensors["a"]), safetensors.ErrNoTensor)
	require.ErrorIs(t, w.Close(), safetensors.ErrNoTensor, "Close repeats what Write said")

	w = open()
	require.ErrorAs(t, w.Write("a", tensors["b"]), &malformed, "another type and shape")
	require.Error(t, w.Close())

	w = open()
	require.NoError(t, w.Write("a", tensors["a"]))
	require.ErrorAs(t, w.Write("a", tensors["a"]), &malformed, "twice")
	require.Error(t, w.Close())

	for name, infos := range map[string]map[string]safetensors.Info{
		"a type":  {"x": {DType: "F9", Shape: []int{1}}},
		"a shape": {"x": {DType: safetensors.F32, Shape: []int{-1}}},
		"a size":  {"x": {DType: safetensors.F32, Shape: []int{math.MaxInt, 2}}},
		"a name":  {"__metadata__": {DType: safetensors.F32}},
	} {
		_, err := safetensors.Create(t.TempDir(), infos, nil, 0)
		require.ErrorAs(t, err, &malformed, name)
	}
	_, err := safetensors.Create(t.TempDir(), infos, nil, -1)
	require.Error(t, err)
	_, err = safetensors.Create(filepath.Join(t.TempDir(), "nowhere"), infos, nil, 0)
	require.ErrorIs(t, err, os.ErrNotExist)
}
