package bounded

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/bounded/boundedtest"
)

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	require.NoError(t, os.WriteFile(path, []byte("abc"), 0o600))
	got, err := ReadFile(path, 3)
	require.NoError(t, err)
	require.Equal(t, "abc", string(got))
	_, err = ReadFile(path, 2)
	require.ErrorContains(t, err, "3 bytes, at most 2 make sense")
	_, err = ReadFile(filepath.Join(dir, "b"), 2)
	require.ErrorIs(t, err, os.ErrNotExist)

	pipe := filepath.Join(dir, "pipe")
	boundedtest.MakePipe(t, pipe)
	for _, path := range []string{dir, pipe, os.DevNull, "/dev/zero"} {
		_, err := ReadFile(path, 1<<20)
		require.ErrorIs(t, err, ErrIrregular, path)
		require.ErrorContains(t, err, path)
	}
}

// TestGzip: zeros are refused soon after the slack, and ordinary data never.
func TestGzip(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(make([]byte, 4*Slack))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	size := int64(packed.Len())

	r, err := Ratio(2000).Gzip(bytes.NewReader(packed.Bytes()))
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, r)
	require.NoError(t, err)
	require.Equal(t, int64(4*Slack), n)
	require.NoError(t, r.CheckEntries(1000+size/16))
	require.ErrorIs(t, r.CheckEntries(1001+size/16), ErrUnsafe)

	r, err = Ratio(10).Gzip(bytes.NewReader(packed.Bytes()))
	require.NoError(t, err)
	n, err = io.Copy(io.Discard, r)
	require.ErrorIs(t, err, ErrUnsafe)
	require.Less(t, n, int64(2*Slack))
	_, err = Ratio(10).Gzip(bytes.NewReader([]byte("text")))
	require.Error(t, err)
}

func TestZip(t *testing.T) {
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	for _, name := range []string{"a", "b", "empty"} {
		w, err := z.Create(name)
		require.NoError(t, err)
		if name != "empty" {
			_, err = w.Write(make([]byte, Slack))
			require.NoError(t, err)
		}
	}
	_, err := z.Create("folder/")
	require.NoError(t, err)
	require.NoError(t, z.Close())
	open := func(r Ratio, b []byte) error {
		_, err := r.Zip(bytes.NewReader(b), int64(len(b)))
		return err
	}
	require.NoError(t, open(2000, packed.Bytes()))
	require.ErrorIs(t, open(10, packed.Bytes()), ErrUnsafe)
	require.ErrorContains(t, open(10, packed.Bytes()), "more than 10 times its size")
	require.Error(t, open(10, packed.Bytes()[:100]))

	// The directory names the bytes of the first entry for the second as well.
	shared := bytes.Clone(packed.Bytes())
	at := bytes.LastIndex(shared, []byte("PK\x01\x02"))
	for range 2 {
		at = bytes.LastIndex(shared[:at], []byte("PK\x01\x02"))
	}
	copy(shared[at+42:at+46], make([]byte, 4))
	require.ErrorIs(t, open(2000, shared), ErrUnsafe)
	require.ErrorContains(t, open(2000, shared), "share their bytes")
}
