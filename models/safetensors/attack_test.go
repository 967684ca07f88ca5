package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// raw is a file with the given header and dataLen bytes of data.
func raw(head string, dataLen int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	b = append(b, head...)
	return append(b, make([]byte, dataLen)...)
}

type attack struct {
	name    string
	head    string
	dataLen int
	tensor  string // the tensor that the error names
	msg     string // what the error says
}

func syntaxAttacks() []attack {
	const ok = `"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}`
	return []attack{
		{"empty", ``, 0, "", "does not start with {"},
		{"leading space", ` {}`, 0, "", "does not start with {"},
		{"an array", `[]`, 0, "", "does not start with {"},
		{"not JSON", `{"a":`, 0, "", "not JSON"},
		{"two values", `{}{}`, 0, "", "not JSON"},
		{"trailing comma", `{` + ok + `,}`, 1, "", "not JSON"},
		{"not UTF-8", "{\"\xff\":{}}", 0, "", "not UTF-8"},
		{"zero bytes behind", "{}\x00\x00", 0, "", "not JSON"},
		{"deep nesting", `{"a":` + strings.Repeat(`[`, 20000) + strings.Repeat(`]`, 20000) + `}`, 0, "", "not JSON"},
		{"duplicate tensor", `{` + ok + `,` + ok + `}`, 1, "", `duplicate key "a"`},
		{"duplicate tensor, escaped", `{` + ok + `,` + strings.Replace(ok, "a", `\u0061`, 1) + `}`, 1, "",
			`duplicate key "a"`},
		{"duplicate dtype", `{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1, "a",
			`duplicate key "dtype"`},
		{"duplicate metadata", `{"__metadata__":{},"__metadata__":{}}`, 0, "", "duplicate key"},
		{"duplicate metadata key", `{"__metadata__":{"k":"1","k":"2"}}`, 0, "", "duplicate key"},
		{"metadata is no object", `{"__metadata__":["pt"]}`, 0, "", "__metadata__: want an object"},
		{"metadata is a number", `{"__metadata__":{"k":1}}`, 0, "", `__metadata__: key "k": want a string, found "1"`},
		{"tensor is null", `{"a":null}`, 0, "a", `want an object, found "null"`},
		{"unknown key", `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}}`, 1, "a", `unknown key "x"`},
		{"no dtype", `{"a":{"shape":[1],"data_offsets":[0,1]}}`, 1, "a", "want dtype"},
		{"no shape", `{"a":{"dtype":"U8","data_offsets":[0,1]}}`, 1, "a", "want dtype, shape"},
		{"no offsets", `{"a":{"dtype":"U8","shape":[1]}}`, 1, "a", "two data_offsets"},
	}
}

func valueAttacks() []attack {
	one := func(dtype, shape, offsets string) string {
		return fmt.Sprintf(`{"a":{"dtype":%s,"shape":%s,"data_offsets":%s}}`, dtype, shape, offsets)
	}
	return []attack{
		{"unknown dtype", one(`"F128"`, `[1]`, `[0,16]`), 16, "a", `unknown dtype "F128"`},
		{"lower case dtype", one(`"f32"`, `[1]`, `[0,4]`), 4, "a", `unknown dtype "f32"`},
		{"empty dtype", one(`""`, `[1]`, `[0,1]`), 1, "a", "want dtype"},
		{"dtype is a number", one(`7`, `[1]`, `[0,1]`), 1, "a", "dtype: want a string"},
		{"shape is null", one(`"U8"`, `null`, `[0,1]`), 1, "a", "shape: want an array"},
		{"shape is a number", one(`"U8"`, `1`, `[0,1]`), 1, "a", "shape: want an array"},
		{"negative axis", one(`"U8"`, `[-1]`, `[0,1]`), 1, "a", `found "-1"`},
		{"two negative axes", one(`"U8"`, `[-1,-1]`, `[0,1]`), 1, "a", `found "-1"`},
		{"fraction", one(`"U8"`, `[1.0]`, `[0,1]`), 1, "a", `found "1.0"`},
		{"exponent", one(`"U8"`, `[1e0]`, `[0,1]`), 1, "a", `found "1e0"`},
		{"text axis", one(`"U8"`, `["1"]`, `[0,1]`), 1, "a", "want a non-negative integer"},
		{"nested axis", one(`"U8"`, `[[1]]`, `[0,1]`), 1, "a", "want a non-negative integer"},
		{"axis of 2^63", one(`"U8"`, `[9223372036854775808]`, `[0,1]`), 1, "a", "below 2^63"},
		{"axis of 2^64", one(`"U8"`, `[18446744073709551616]`, `[0,1]`), 1, "a", "below 2^63"},
		{"axis of many digits", one(`"U8"`, `[1`+strings.Repeat("0", 1000)+`]`, `[0,1]`), 1, "a", "below 2^63"},
		{"product wraps to 0", one(`"F32"`, `[4611686018427387904,4]`, `[0,0]`), 0, "a", "overflows"},
		{"product wraps to 1", one(`"U8"`, `[4294967297,4294967297,4294967297]`, `[0,1]`), 1, "a", "overflows"},
		{"overflow before a zero", one(`"U8"`, `[9223372036854775807,9223372036854775807,0]`, `[0,0]`), 0, "a", "overflows"},
		{"too many axes", one(`"U8"`, `[`+strings.Repeat("1,", 64)+`1]`, `[0,1]`), 1, "a", "more than 64"},
		{"size too small", one(`"F32"`, `[2]`, `[0,4]`), 4, "a", "needs 8 bytes"},
		{"size too large", one(`"F32"`, `[2]`, `[0,12]`), 12, "a", "needs 8 bytes"},
		{"offsets backwards", one(`"U8"`, `[1]`, `[1,0]`), 1, "a", "needs 1 bytes"},
		{"negative offset", one(`"U8"`, `[1]`, `[-1,0]`), 1, "a", `found "-1"`},
		{"one offset", one(`"U8"`, `[1]`, `[1]`), 1, "a", "two data_offsets"},
		{"three offsets", one(`"U8"`, `[1]`, `[0,1,1]`), 1, "a", "more than 2 numbers"},
		{"offsets far outside", one(`"U8"`, `[1]`, `[9223372036854775806,9223372036854775807]`), 1, "a",
			"end after the data"},
		{"data missing", one(`"U8"`, `[2]`, `[0,2]`), 1, "a", "truncated"},
		{"data left over", one(`"U8"`, `[1]`, `[0,1]`), 2, "", "1 bytes of data belong to no tensor"},
		{"data of no tensor", `{}`, 1, "", "1 bytes of data belong to no tensor"},
		{"starts late", one(`"U8"`, `[1]`, `[1,2]`), 2, "a", "leave a hole after 0"},
	}
}

func coverAttacks() []attack {
	two := func(a, b string, n, m int) string {
		return fmt.Sprintf(`{"a":{"dtype":"U8","shape":[%d],"data_offsets":%s},`+
			`"b":{"dtype":"U8","shape":[%d],"data_offsets":%s}}`, n, a, m, b)
	}
	return []attack{
		{"same bytes twice", two(`[0,4]`, `[0,4]`, 4, 4), 4, "b", "overlap"},
		{"overlap by one", two(`[0,4]`, `[3,7]`, 4, 4), 7, "b", "overlap"},
		{"one inside the other", two(`[0,8]`, `[2,4]`, 8, 2), 8, "b", "overlap"},
		{"hole", two(`[0,4]`, `[5,8]`, 4, 3), 8, "b", "hole after 4"},
		{"empty tensor inside another", two(`[0,4]`, `[2,2]`, 4, 0), 4, "b", "overlap"},
		{"empty tensor behind the data", two(`[0,4]`, `[5,5]`, 4, 0), 4, "b", "end after the data"},
	}
}

func TestHostileHeaders(t *testing.T) {
	dir := t.TempDir()
	for _, list := range [][]attack{syntaxAttacks(), valueAttacks(), coverAttacks()} {
		for _, c := range list {
			t.Run(c.name, func(t *testing.T) {
				path := filepath.Join(dir, "model.safetensors")
				require.NoError(t, os.WriteFile(path, raw(c.head, c.dataLen), 0o600))
				f, err := Open(path)
				require.Nil(t, f)
				var format *FormatError
				require.ErrorAs(t, err, &format)
				assert.Equal(t, path, format.Path)
				assert.Equal(t, c.tensor, format.Tensor)
				assert.Contains(t, format.Msg, c.msg)
				assert.NotContains(t, err.Error(), "\n")
				assert.Less(t, len(err.Error()), 1000)
			})
		}
	}
}

func TestUnusualButValidHeaders(t *testing.T) {
	for name, c := range map[string]attack{
		"no tensor":     {head: `{}`},
		"spaces behind": {head: "{}      "},
		"spaces inside": {head: "{ \"a\" :\n{\t\"shape\" : [ 1 , 1 ] ,\r\"data_offsets\":[ 0 , 1 ] , " +
			"\"dtype\":\"U8\" } }", dataLen: 1},
		"escapes": {head: `{"\u0061\"\\\ud83d\ude00":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`,
			dataLen: 1},
		"any order": {head: `{"a":{"dtype":"U8","shape":[3],"data_offsets":[1,4]},` +
			`"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, dataLen: 4},
		"misaligned": {head: `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},` +
			`"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}`, dataLen: 5},
		"empty tensors": {head: `{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},` +
			`"b":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]},` +
			`"c":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},` +
			`"d":{"dtype":"I8","shape":[0],"data_offsets":[4,4]}}`, dataLen: 4},
		"metadata at the end": {head: `{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},` +
			`"__metadata__":{"format":"pt"}}`, dataLen: 1},
		"axis of the largest": {head: `{"a":{"dtype":"U8","shape":[0,4294967296],"data_offsets":[0,0]}}`},
		"as many axes as ever": {head: `{"a":{"dtype":"U8","shape":[` + strings.Repeat("1,", 63) +
			`1],"data_offsets":[0,1]}}`, dataLen: 1},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(c.head, "4294967296") && math.MaxInt == math.MaxInt32 {
				t.Skip("an axis that this architecture cannot count")
			}
			all := contents(t, decode(t, raw(c.head, c.dataLen)))
			total := 0
			for _, x := range all {
				_, err := x.Len()
				require.NoError(t, err)
				total += len(x.Data)
			}
			assert.Equal(t, c.dataLen, total)
		})
	}
}

func TestTruncationAtEveryByte(t *testing.T) {
	whole := encode(t, map[string]Tensor{
		"a.weight": {DType: F32, Shape: []int{2, 2}, Data: bytes.Repeat([]byte{1}, 16)},
		"a.bias":   {DType: F16, Shape: []int{2}, Data: bytes.Repeat([]byte{2}, 4)},
		"empty":    {DType: F32, Shape: []int{0}, Data: []byte{}},
	}, map[string]string{"format": "pt"})
	path := filepath.Join(t.TempDir(), "model.safetensors")
	for n := range whole {
		require.NoError(t, os.WriteFile(path, whole[:n], 0o600))
		_, err := Open(path)
		var format *FormatError
		require.ErrorAs(t, err, &format, "%d of %d bytes", n, len(whole))
		require.Equal(t, path, format.Path)
		_, err = Parse(bytes.NewReader(whole[:n]), int64(len(whole))) // the size is a lie
		if n < len(whole)-20 {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%d bytes of header", n)
		}
	}
	require.NoError(t, os.WriteFile(path, append(whole, 0), 0o600))
	_, err := Open(path)
	require.ErrorContains(t, err, "belong to no tensor")
}

func TestLengthOfTheHeaderIsNotTrusted(t *testing.T) {
	for _, n := range []uint64{3, 100, maxHeader, maxHeader + 1, math.MaxInt64, math.MaxUint64 - 7, math.MaxUint64} {
		data := append(binary.LittleEndian.AppendUint64(nil, n), "{}"...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Parse(bytes.NewReader(data), int64(len(data)))
		runtime.ReadMemStats(&after)
		var format *FormatError
		require.ErrorAs(t, err, &format, "%d", n)
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20), "%d", n)
	}
	_, err := Parse(bytes.NewReader(nil), -1)
	assert.ErrorContains(t, err, "too short")
}

func TestFileThatShrinksAfterOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, WriteFile(path, map[string]Tensor{"w": {DType: U8, Shape: []int{64}, Data: make([]byte, 64)}}, nil))
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, info.Size()-1))
	_, err = f.Tensor("w")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.ErrorContains(t, err, path)
	assert.ErrorContains(t, err, `"w"`)
}

// brokenDisk fails from an offset on.
type brokenDisk struct {
	*bytes.Reader
	from int64
	err  error
}

func (d brokenDisk) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > d.from {
		return 0, d.err
	}
	return d.Reader.ReadAt(b, off)
}

func TestReadErrorsAreKept(t *testing.T) {
	data := encode(t, map[string]Tensor{"w": {DType: U8, Shape: []int{8}, Data: make([]byte, 8)}}, nil)
	broken := errors.New("input/output error")
	for _, from := range []int64{0, 8, 9} {
		_, err := Parse(brokenDisk{bytes.NewReader(data), from, broken}, int64(len(data)))
		require.ErrorIs(t, err, broken)
	}
	f, err := Parse(brokenDisk{bytes.NewReader(data), int64(len(data)) - 1, broken}, int64(len(data)))
	require.NoError(t, err)
	_, err = f.Tensor("w")
	require.ErrorIs(t, err, broken)
}

func TestMissingTensor(t *testing.T) {
	f := decode(t, raw(`{}`, 0))
	_, err := f.Tensor("w")
	require.ErrorIs(t, err, ErrNoTensor)
	_, _, err = f.Info("w")
	require.ErrorIs(t, err, ErrNoTensor)
	assert.ErrorContains(t, err, `"w"`)
}

func TestOpenOfWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(filepath.Join(dir, "absent"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Open(dir)
	require.ErrorContains(t, err, "not a regular file")
}
