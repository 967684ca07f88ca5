package data

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"image"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/bounded"
	"github.com/otfuse/otfuse/internal/bounded/boundedtest"
)

// promisedPNG is a PNG of 74 bytes whose header promises an image of 16-bit colours.
func promisedPNG(t *testing.T, w, h uint32) []byte {
	var b bytes.Buffer
	whole := pngOf(t, image.NewNRGBA(image.Rect(0, 0, 1, 1)))
	b.Write(whole[:16])
	b.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), h))
	b.Write([]byte{16, 6, 0, 0, 0})
	crc := crcOf(b.Bytes()[12:29])
	b.Write(crc[:])
	b.Write(whole[33:])
	return b.Bytes()
}

// promisedJPEG is the header of a progressive JPEG of three components, filled up to a
// size.
func promisedJPEG(side uint16, size int) []byte {
	b := []byte{0xff, 0xd8, 0xff, 0xe0, 0, 4, 'x', 'x', 0xff, 0xc2, 0, 17, 8}
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, side), side)
	b = append(b, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0)
	b = append(b, 0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 0, 0)
	return append(b, make([]byte, max(size-len(b), 0))...)
}

// TestImageBombs: an image takes no more memory than its file can hold pixels.
func TestImageBombs(t *testing.T) {
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"one column":              {promisedPNG(t, 1, 1<<21), "an image of 1×2097152 pixels"},
		"more than memory":        {promisedPNG(t, 8192, 8191), "an image of 8192×8191 pixels"},
		"more than the file":      {promisedPNG(t, 5000, 5000), "an image of 5000×5000 pixels in 74 bytes"},
		"JPEG of two lines":       {promisedJPEG(5000, 0), "an image of 5000×5000 pixels in 41 bytes"},
		"JPEG with coefficients":  {promisedJPEG(5000, 60_000), "an image of 5000×5000 pixels that takes 452 MB to decode"},
		"nothing but a signature": {[]byte("\x89PNG\r\n\x1a\n"), "truncated"},
	} {
		boundedtest.Require(t, 1<<20, func() {
			_, err := decodeImage(c.raw)
			require.ErrorContains(t, err, c.want, name)
		})
	}
	small := promisedJPEG(2000, 20_000)
	require.Equal(t, int64(len(small)+2000*2000*(3+4+12)), decodeMemory(small))
}

// tarOfZeros is a .tar.gz of files of zeros.
func tarOfZeros(t *testing.T, files, size int, name func(int) string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for i := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name(i), Size: int64(size), Typeflag: tar.TypeReg}))
		_, err := w.Write(make([]byte, size))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	return b.Bytes()
}

// sharedZip is a .zip with many names for one body of zeros.
func sharedZip(t *testing.T, names, size int) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := range names {
		w, err := z.Create(fmt.Sprintf("data_batch_%02d.bin", i))
		require.NoError(t, err)
		if i == 0 {
			_, err = w.Write(make([]byte, size))
		} else {
			_, err = w.Write(nil)
		}
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	raw := b.Bytes()
	directory := bytes.Index(raw, []byte("PK\x01\x02"))
	require.Positive(t, directory)
	first := raw[directory:]
	for at := directory; at >= 0; {
		copy(raw[at+16:at+28], first[16:28]) // the checksum and both sizes
		copy(raw[at+42:at+46], make([]byte, 4))
		next := bytes.Index(raw[at+4:], []byte("PK\x01\x02"))
		if next < 0 {
			break
		}
		at += 4 + next
	}
	return raw
}

// TestArchiveBombs: archives are refused when they unpack to many times their size.
func TestArchiveBombs(t *testing.T) {
	batch := func(i int) string { return fmt.Sprintf("data_batch_%d.bin", i) }
	picture := func(i int) string { return fmt.Sprintf("train/a/%d.png", i) }
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"records of zeros": {tarOfZeros(t, 5, 20<<20, batch), "unpacks to more than 100 times its size"},
		"empty entries":    {tarOfZeros(t, 20_000, 0, picture), "entries in"},
		"one body":         {sharedZip(t, 15, 1<<20), "share their bytes"},
		"one large body":   {sharedZip(t, 19, 20<<20), "unpacks to more than 100 times its size"},
	} {
		require.Less(t, len(c.raw), 1<<20)
		path := filepath.Join(write(t, t.TempDir(), content{"x", c.raw}), "x")
		for _, open := range []func() error{
			func() error { _, _, err := OpenCIFAR10(t.Context(), path); return err },
			func() error { _, _, err := OpenImageFolder(t.Context(), path, Options{}); return err },
			func() error { _, _, err := OpenCIFAR10JPEG(t.Context(), path, nil); return err },
		} {
			boundedtest.Require(t, boundedtest.Hostile, func() {
				err := open()
				require.ErrorIs(t, err, ErrUnsafe, name)
				require.ErrorContains(t, err, c.want, name)
			})
		}
	}
}

// TestPipes: what is no file is not opened, and what lies in a folder and is none is
// passed over.
func TestPipes(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	boundedtest.MakePipe(t, pipe)
	for _, path := range []string{pipe, "/dev/zero"} {
		_, _, err := OpenCIFAR10(t.Context(), path)
		require.ErrorIs(t, err, bounded.ErrIrregular)
		_, _, err = OpenImageFolder(t.Context(), path, Options{})
		require.ErrorIs(t, err, bounded.ErrIrregular)
	}
	folder := write(t, t.TempDir(), folderFiles(t)...)
	boundedtest.MakePipe(t, filepath.Join(folder, filepath.FromSlash("set/train/ape/9.jpg")))
	_, _, err := OpenImageFolder(t.Context(), folder, Options{Size: Size{8, 8}})
	require.NoError(t, err)
}
