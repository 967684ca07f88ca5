package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func allDTypes() []DType {
	return []DType{Bool, U8, I8, F8E5M2, F8E4M3, F8E8M0, I16, U16, F16, BF16, I32, U32, F32, C64, F64, I64, U64}
}

// oneOfEach has a matrix, a scalar and an empty tensor of every type, with
// bytes that differ everywhere.
func oneOfEach() map[string]Tensor {
	all := map[string]Tensor{}
	next := byte(0)
	for _, d := range allDTypes() {
		for _, shape := range [][]int{{3, 5}, {}, {4, 0}} {
			n, _ := byteLen(d, shape)
			data := make([]byte, n)
			for i := range data {
				next += 37
				data[i] = next
			}
			all[fmt.Sprint(d, shape)] = Tensor{DType: d, Shape: shape, Data: data}
		}
	}
	return all
}

func encode(t testing.TB, tensors map[string]Tensor, metadata map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, Write(&b, tensors, metadata))
	return b.Bytes()
}

func decode(t testing.TB, data []byte) *File {
	t.Helper()
	f, err := Parse(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	return f
}

func contents(t testing.TB, f *File) map[string]Tensor {
	t.Helper()
	all := map[string]Tensor{}
	for _, name := range f.Names() {
		x, err := f.Tensor(name)
		require.NoError(t, err)
		all[name] = x
	}
	return all
}

func TestEveryDTypeRoundTripsBitForBit(t *testing.T) {
	want := oneOfEach()
	require.Len(t, want, 3*17)
	f := decode(t, encode(t, want, map[string]string{"format": "pt", "note": "a \"quoted\" näme\n"}))
	assert.Equal(t, want, contents(t, f))
	assert.Equal(t, map[string]string{"format": "pt", "note": "a \"quoted\" näme\n"}, f.Metadata())
	require.NoError(t, f.Close())
}

func TestOddNamesRoundTrip(t *testing.T) {
	want := map[string]Tensor{}
	for i, name := range []string{
		"", " ", "a.b", "a/b", `"`, `\`, "\n\t\x00\x7f", "<&>", "日本", "\u2028", "__metadata", strings.Repeat("x", 4096),
	} {
		want[name] = Tensor{DType: U8, Shape: []int{1}, Data: []byte{byte(i)}}
	}
	assert.Equal(t, want, contents(t, decode(t, encode(t, want, nil))))
}

func TestWriteIsCanonical(t *testing.T) {
	first := encode(t, oneOfEach(), map[string]string{"b": "2", "a": "1", "c": "3"})
	for range 20 { // maps iterate in another order each time
		second := encode(t, oneOfEach(), map[string]string{"c": "3", "a": "1", "b": "2"})
		require.True(t, bytes.Equal(first, second))
	}
}

func TestWriteLayout(t *testing.T) {
	got := encode(t, map[string]Tensor{
		"b": {DType: U8, Shape: []int{3}, Data: []byte{1, 2, 3}},
		"a": {DType: F16, Shape: []int{}, Data: []byte{4, 5}},
		"z": {DType: F32, Shape: []int{1, 1}, Data: []byte{6, 7, 8, 9}},
		"c": {DType: F32, Shape: []int{0}, Data: nil},
	}, map[string]string{"format": "pt"})
	head := `{"__metadata__":{"format":"pt"},` +
		`"c":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},` +
		`"z":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},` +
		`"a":{"dtype":"F16","shape":[],"data_offsets":[4,6]},` +
		`"b":{"dtype":"U8","shape":[3],"data_offsets":[6,9]}}`
	head += strings.Repeat(" ", -len(head)&7)
	want := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	want = append(append(want, head...), 6, 7, 8, 9, 4, 5, 1, 2, 3)
	assert.Equal(t, string(want), string(got))
}

func TestEveryTensorIsAligned(t *testing.T) {
	f := decode(t, encode(t, oneOfEach(), nil))
	for name, e := range f.entries {
		assert.Zero(t, e.begin%int64(e.dtype.Size()), "%s starts at %d", name, e.begin)
	}
}

func TestWriteOfNothing(t *testing.T) {
	f := decode(t, encode(t, nil, nil))
	assert.Empty(t, f.Names())
	assert.Empty(t, f.Metadata())
}

func TestWriteRefuses(t *testing.T) {
	good := Tensor{DType: U8, Shape: []int{1}, Data: []byte{1}}
	for _, c := range []struct {
		name     string
		tensors  map[string]Tensor
		metadata map[string]string
		tensor   string
		msg      string
	}{
		{"reserved name", map[string]Tensor{"__metadata__": good}, nil, "__metadata__", "not a name"},
		{"bytes as name", map[string]Tensor{"\xff": good}, nil, "\xff", "not a name"},
		{"data too short", map[string]Tensor{"good": good, "x": {DType: F32, Shape: []int{1}, Data: []byte{1}}}, nil, "x",
			"needs 4 bytes"},
		{"unknown type", map[string]Tensor{"x": {DType: "F4", Shape: []int{1}, Data: []byte{1}}}, nil, "x",
			`unknown dtype "F4"`},
		{"negative", map[string]Tensor{"x": {DType: U8, Shape: []int{-1}}}, nil, "x", "negative"},
		{"overflow", map[string]Tensor{"x": {DType: U8, Shape: []int{math.MaxInt32, math.MaxInt32, math.MaxInt32, 0}}}, nil,
			"x", "overflows"},
		{"metadata", nil, map[string]string{"k": "\xff"}, "", "not UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			err := Write(&b, c.tensors, c.metadata)
			var format *FormatError
			require.ErrorAs(t, err, &format)
			assert.Equal(t, c.tensor, format.Tensor)
			assert.Contains(t, format.Msg, c.msg)
			assert.Zero(t, b.Len(), "nothing is written before all is checked")
		})
	}
}

// A writer that takes limit bytes and then fails.
type fullDisk struct {
	limit int
	err   error
}

func (w *fullDisk) Write(b []byte) (int, error) {
	n := min(len(b), w.limit)
	w.limit -= n
	if n < len(b) {
		return n, w.err
	}
	return n, nil
}

func TestWriteReportsTheWriter(t *testing.T) {
	tensors := map[string]Tensor{"layer.weight": {DType: U8, Shape: []int{4}, Data: []byte{1, 2, 3, 4}}}
	size := len(encode(t, tensors, nil))
	full := errors.New("disk full")
	for limit := range size {
		err := Write(&fullDisk{limit, full}, tensors, nil)
		require.ErrorIs(t, err, full, "after %d bytes", limit)
		if limit >= size-4 {
			require.ErrorContains(t, err, `"layer.weight"`)
		}
	}
	require.NoError(t, Write(&fullDisk{size, full}, tensors, nil))
}

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "model.safetensors")
	want := oneOfEach()
	require.NoError(t, WriteFile(path, want, map[string]string{"format": "pt"}))
	f, err := Open(path)
	require.NoError(t, err)
	assert.Equal(t, want, contents(t, f))
	require.NoError(t, f.Close())
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(encode(t, want, map[string]string{"format": "pt"}), before))

	bad := maps.Clone(want)
	bad["bad"] = Tensor{DType: F32}
	err = WriteFile(path, bad, nil)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, `"bad"`)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(before, after))
}
