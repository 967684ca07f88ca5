package safetensors

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	shard1 = "model-00001-of-00002.safetensors"
	shard2 = "model-00002-of-00002.safetensors"
)

func byteTensor(b ...byte) Tensor { return Tensor{DType: U8, Shape: []int{len(b)}, Data: b} }

// shardedDir has a and b in the first shard and c in the second.
func shardedDir(t *testing.T, index string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, WriteFile(filepath.Join(dir, shard1),
		map[string]Tensor{"b": byteTensor(2), "a": byteTensor(1, 1)}, nil))
	require.NoError(t, WriteFile(filepath.Join(dir, shard2), map[string]Tensor{"c": byteTensor(3)}, nil))
	require.NoError(t, os.WriteFile(filepath.Join(dir, IndexName), []byte(index), 0o600))
	return dir
}

func weightMap(pairs ...string) string {
	var members []string
	for i := 0; i < len(pairs); i += 2 {
		members = append(members, fmt.Sprintf("%q:%q", pairs[i], pairs[i+1]))
	}
	return `{"metadata":{"total_size":4},"weight_map":{` + strings.Join(members, ",") + `}}`
}

func TestShardedCheckpoint(t *testing.T) {
	c, err := OpenDir(shardedDir(t, weightMap("c", shard2, "a", shard1, "b", shard1)))
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b", "c"}, c.Names())
	for name, want := range map[string]Tensor{"a": byteTensor(1, 1), "b": byteTensor(2), "c": byteTensor(3)} {
		got, err := c.Tensor(name)
		require.NoError(t, err)
		assert.Equal(t, want, got)
		dtype, shape, err := c.Info(name)
		require.NoError(t, err)
		assert.Equal(t, want.DType, dtype)
		assert.Equal(t, want.Shape, shape)
	}
	_, err = c.Tensor("d")
	require.ErrorIs(t, err, ErrNoTensor)
	_, _, err = c.Info("d")
	require.ErrorIs(t, err, ErrNoTensor)
	assert.ErrorContains(t, err, `"d"`)
	require.NoError(t, c.Close())
	_, err = c.Tensor("a")
	require.ErrorIs(t, err, os.ErrClosed)
	_, err = c.Tensor("c")
	require.ErrorIs(t, err, os.ErrClosed)
}

func TestSingleFileCheckpoint(t *testing.T) {
	dir := shardedDir(t, "{ not even JSON") // what the single file hides is not read
	want := map[string]Tensor{"x": byteTensor(1), "w": byteTensor(2, 3)}
	require.NoError(t, WriteFile(filepath.Join(dir, SingleName), want, nil))
	c, err := OpenDir(dir)
	require.NoError(t, err)
	assert.Equal(t, []string{"w", "x"}, c.Names())
	got, err := c.Tensor("w")
	require.NoError(t, err)
	assert.Equal(t, want["w"], got)
	require.NoError(t, c.Close())
}

func TestCheckpointIsReadConcurrently(t *testing.T) {
	c, err := OpenDir(shardedDir(t, weightMap("c", shard2, "a", shard1, "b", shard1)))
	require.NoError(t, err)
	defer c.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, name := range c.Names() {
				x, err := c.Tensor(name)
				if assert.NoError(t, err) {
					assert.Equal(t, name[0]-'a'+1, x.Data[0])
				}
			}
		})
	}
	wg.Wait()
}

type indexAttack struct{ name, index, tensor, msg string }

func indexAttacks() []indexAttack {
	const notLocal = "is not the name of a file in this directory"
	list := []indexAttack{
		{"empty", ``, "", "not JSON"},
		{"not JSON", `{"weight_map":`, "", "not JSON"},
		{"not UTF-8", "{\"weight_map\":{\"a\":\"\xff\"}}", "", "not UTF-8"},
		{"an array", `[]`, "", "want an object"},
		{"no weight_map", `{"metadata":{"weight_map":{"a":"x"}}}`, "", "weight_map is missing or empty"},
		{"empty weight_map", `{"weight_map":{}}`, "", "weight_map is missing or empty"},
		{"weight_map is a list", `{"weight_map":["a"]}`, "", "weight_map: want an object"},
		{"shard is a number", `{"weight_map":{"a":1}}`, "", `weight_map: key "a": want a string`},
		{"duplicate weight_map", `{"weight_map":{"a":"x"},"weight_map":{"a":"y"}}`, "", `duplicate key "weight_map"`},
		{"duplicate tensor", `{"weight_map":{"a":"` + shard1 + `","a":"` + shard2 + `"}}`, "", `duplicate key "a"`},
		{"missing shard", weightMap("a", shard1, "b", shard1, "c", "absent", "d", "gone"), "",
			"missing shards: absent, gone"},
	}
	for _, shard := range []string{
		"", ".", "..", "../model.safetensors", "/etc/passwd", "sub/model.safetensors", `..\model.safetensors`,
		`sub\x`, "C:x", "./x", "x/", "x\x00",
	} {
		list = append(list, indexAttack{fmt.Sprintf("shard %q", shard),
			strings.ReplaceAll(weightMap("a", shard), `\x00`, `\u0000`), "a", notLocal})
	}
	return list
}

func TestHostileIndexes(t *testing.T) {
	for _, c := range indexAttacks() {
		t.Run(c.name, func(t *testing.T) {
			dir := shardedDir(t, c.index)
			got, err := OpenDir(dir)
			require.Nil(t, got)
			var format *FormatError
			require.ErrorAs(t, err, &format)
			assert.Equal(t, filepath.Join(dir, IndexName), format.Path)
			assert.Equal(t, c.tensor, format.Tensor)
			assert.Contains(t, format.Msg, c.msg)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

// TestIndexThatDisagrees: the index says which tensors to take. One that its shard
// lacks is taken from another shard or is absent, one that it does not list is left.
func TestIndexThatDisagrees(t *testing.T) {
	for index, names := range map[string][]string{
		weightMap("a", shard1, "b", shard1, "c", shard2, "d", shard2, "e", shard1): {"a", "b", "c"},
		weightMap("a", shard2, "b", shard1, "c", shard2):                           {"a", "b", "c"},
		weightMap("b", shard1, "c", shard2):                                        {"b", "c"},
	} {
		c, err := OpenDir(shardedDir(t, index))
		require.NoError(t, err)
		assert.Equal(t, names, c.Names())
		for _, name := range names {
			x, err := c.Tensor(name)
			require.NoError(t, err)
			assert.Equal(t, name[0]-'a'+1, x.Data[0])
		}
		_, err = c.Tensor("e")
		require.ErrorIs(t, err, ErrNoTensor)
		require.NoError(t, c.Close())
	}
}

func TestLongListsAreCut(t *testing.T) {
	var pairs []string
	for i := range 1000 {
		pairs = append(pairs, fmt.Sprint("t", i), fmt.Sprintf("s%03d", i))
	}
	_, err := OpenDir(shardedDir(t, weightMap(pairs...)))
	require.ErrorContains(t, err, "missing shards: s000, s001, s002, s003, s004, s005, s006, s007 and 992 more")
}

func TestFaultyShardIsNamed(t *testing.T) {
	dir := shardedDir(t, weightMap("a", shard1, "b", shard1, "c", shard2))
	path := filepath.Join(dir, shard2)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data[:len(data)-1], 0o600))
	_, err = OpenDir(dir)
	var format *FormatError
	require.ErrorAs(t, err, &format)
	assert.Equal(t, path, format.Path)
	assert.Equal(t, "c", format.Tensor)
}

func TestOpenDirOfWhatIsNoCheckpoint(t *testing.T) {
	dir := t.TempDir()
	_, err := OpenDir(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err, "neither model.safetensors nor model.safetensors.index.json")

	absent := filepath.Join(dir, "absent")
	_, err = OpenDir(absent)
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err, absent)

	require.NoError(t, os.Mkdir(filepath.Join(dir, IndexName), 0o700))
	_, err = OpenDir(dir)
	require.ErrorContains(t, err, IndexName+": not a regular file")

	require.NoError(t, os.WriteFile(filepath.Join(dir, SingleName), []byte("x"), 0o600))
	_, err = OpenDir(dir)
	require.ErrorContains(t, err, SingleName+": 1 bytes, too short for a header")
}
