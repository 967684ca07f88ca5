package safetensors

import (
	"io"
	"os"
	"runtime"
)

// The size of a file for each byte that is written in it, and in all, from which it is
// taken for a sparse one.
const (
	mostHoles  = 64
	largeHoles = 64 << 20 // bytes
)

// checkHoles refuses a sparse file: almost all of what it claims is zeros that nobody
// wrote, and would take as much memory as it claims.
func checkHoles(f *os.File, size int64) error {
	if size <= largeHoles {
		return nil
	}
	if enough := size / mostHoles; written(f, size, enough) < enough {
		return malformed("", "a sparse file: it claims %d bytes, of which less than %d are written", size, enough)
	}
	return nil
}

// written returns how many of the bytes of a file are not in holes, up to enough of them.
// Where holes cannot be asked for that is the size.
func written(f *os.File, size, enough int64) int64 {
	toData, toHole, ok := whences()
	var sum, at int64
	for ok && sum < enough && at < size {
		data, err := f.Seek(at, toData)
		if err != nil { // there is no more data
			hole, err := f.Seek(at, toHole)
			if err != nil || hole > at {
				return size // nor holes: the file system does not know
			}
			return sum
		}
		hole, err := f.Seek(data, toHole)
		if err != nil || hole <= data {
			return size
		}
		sum, at = sum+hole-data, hole
	}
	if !ok {
		return size
	}
	return sum
}

// whences returns how a seek is asked for the next data and for the next hole, and false
// where it cannot be.
func whences() (data, hole int, ok bool) {
	switch runtime.GOOS {
	case "linux", "freebsd":
		return io.SeekEnd + 1, io.SeekEnd + 2, true
	case "darwin":
		return io.SeekEnd + 2, io.SeekEnd + 1, true
	}
	return 0, 0, false
}
