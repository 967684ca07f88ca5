//go:build cgo && !noxla && linux && (amd64 || arm64)

package backend

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/otfuse/otfuse/internal/atomicfile"
)

// fileSHA256 returns the SHA-256 sum of a file.
func fileSHA256(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// checkFile compares a file with its SHA-256 sum.
func checkFile(path, want string) error {
	got, err := fileSHA256(path)
	if err == nil && got != want {
		err = fmt.Errorf("%s: %w: SHA-256 is %s, was %s when it was fetched (remove it to fetch it anew)",
			path, errChanged, got, want)
	}
	return err
}

// A record says which files a directory was filled with. Its files are hashed
// whole when they are written, and again when their size or time has changed.
type record struct {
	Wheels []string // SHA-256 sums of the wheels that were unpacked
	Files  []recordedFile
}

// A recordedFile is a file at a path that is relative to the directory.
type recordedFile struct {
	Path    string
	SHA256  string
	Size    int64
	Changed time.Time
}

// recordName is the file of a directory that holds its record.
const recordName = "record.json"

// readRecord reads the record of a directory; it is empty where there is none.
func readRecord(dir string) (record, error) {
	var r record
	text, err := os.ReadFile(filepath.Join(dir, recordName))
	if os.IsNotExist(err) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	return r, err
}

// write saves the record.
func (r record) write(dir string) error {
	return atomicfile.WriteFile(filepath.Join(dir, recordName), func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", " ")
		return encoder.Encode(r)
	})
}

// add notes a file that was written with a sum, perhaps over another one.
func (r *record) add(dir, path, sum string) error {
	info, err := os.Stat(filepath.Join(dir, path))
	if err != nil {
		return err
	}
	r.Files = slices.DeleteFunc(r.Files, func(f recordedFile) bool { return f.Path == path })
	r.Files = append(r.Files, recordedFile{Path: path, SHA256: sum, Size: info.Size(), Changed: info.ModTime()})
	return nil
}

// check compares the directory with its record.
func (r record) check(dir string) error {
	for _, f := range r.Files {
		path := filepath.Join(dir, f.Path)
		info, err := os.Stat(path)
		if err == nil && (info.Size() != f.Size || !info.ModTime().Equal(f.Changed)) {
			err = checkFile(path, f.SHA256)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isFile tells whether there is a regular file at path.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
