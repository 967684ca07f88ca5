package data

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/otfuse/otfuse/internal/bounded"
)

// Limits against archives that unpack to more than memory holds, in bytes.
const (
	maxEntry = 1 << 30  // of any entry
	maxImage = 64 << 20 // of the file of an image
	maxText  = 16 << 20 // of a list or table that describes a set
)

// maxFiles is the largest number of files in an archive.
const maxFiles = 20_000_000

// maxRatio is how many times its size an archive may unpack to.
const maxRatio bounded.Ratio = 100

// archive is a folder, a .tar.gz or a .zip seen as a list of regular files.
type archive struct {
	path string
	// walk visits the files in the order of storage.
	walk func(ctx context.Context, path string, visit func(file) error) error
	// byName opens files by name in any order. It is nil for a .tar.gz, which can
	// be read from its beginning only.
	byName func(path string) (func(name string) (file, error), error)
}

// file is one regular file of an archive. One that is visited can be read during
// the visit only.
type file struct {
	name string // slash separated, clean, relative to the archive
	size int64
	open func() (io.ReadCloser, error)
}

// openArchive recognises a folder, a .tar.gz or a .zip by its content. Of a folder
// it visits depth levels: 1 means its own files only.
func openArchive(path string, depth int) (archive, error) {
	info, err := os.Stat(path)
	if err != nil {
		return archive{}, fmt.Errorf("data: %w", err)
	}
	if info.IsDir() {
		return archive{path, func(ctx context.Context, path string, visit func(file) error) error {
			return walkDir(ctx, path, depth, visit)
		}, dirByName}, nil
	}
	magic, err := readMagic(path)
	switch {
	case err != nil:
		return archive{}, fmt.Errorf("data: %w", err)
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return archive{path, walkTarGz, nil}, nil
	case bytes.HasPrefix(magic, []byte("PK")):
		return archive{path, walkZip, zipByName}, nil
	}
	return archive{}, &FileError{Path: path, Offset: 0, Err: errors.New("neither a folder nor a .tar.gz nor a .zip")}
}

// readMagic returns the first two bytes of a file, or fewer where it is shorter.
func readMagic(path string) ([]byte, error) {
	f, err := bounded.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	magic := make([]byte, 2)
	n, err := io.ReadFull(f, magic)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // too short for an archive, which the caller finds out
	}
	return magic[:n], err
}

// visitFiles calls visit for every regular file in the order of storage. Its
// errors, and those of the archive, are returned as a [FileError].
func (a archive) visitFiles(ctx context.Context, visit func(file) error) error {
	count := 0
	last := ""
	err := a.walk(ctx, a.path, func(f file) error {
		if count++; count > maxFiles {
			return fmt.Errorf("%w: more than %d files", ErrUnsafe, maxFiles)
		}
		name, err := cleanName(f.name)
		if err != nil {
			return a.fileError(f.name, -1, err)
		}
		if f.size < 0 || f.size > maxEntry {
			return a.fileError(name, -1, fmt.Errorf("%w: %d bytes", ErrUnsafe, f.size))
		}
		f.name, last = name, name
		return visit(f)
	})
	if err == nil || errors.As(err, new(*FileError)) || ctx.Err() != nil {
		return err
	}
	if last != "" {
		err = fmt.Errorf("after entry %s: %w", last, err)
	}
	return a.fileError("", -1, err)
}

// fileError returns an error about a byte of an entry. The entry is empty where
// the error is about the whole archive, the offset −1 where no byte can be named.
func (a archive) fileError(entry string, offset int64, err error) error {
	return &FileError{Path: a.path, Entry: entry, Offset: offset, Err: err}
}

// bytes reads a whole file, of at most limit bytes.
func (a archive) bytes(f file, limit int64) ([]byte, error) {
	if f.size > limit {
		return nil, a.fileError(f.name, -1, fmt.Errorf("%w: %d bytes, at most %d make sense", ErrUnsafe, f.size, limit))
	}
	r, err := f.open()
	if err != nil {
		return nil, a.fileError(f.name, -1, err)
	}
	defer r.Close()
	// The buffer grows with the data that arrives, whatever size the header claims.
	var b bytes.Buffer
	b.Grow(int(min(f.size, 1<<20)) + bytes.MinRead)
	n, err := io.Copy(&b, io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, a.fileError(f.name, n, err)
	case n > limit:
		return nil, a.fileError(f.name, limit, fmt.Errorf("%w: longer than %d bytes", ErrUnsafe, limit))
	}
	return b.Bytes(), nil
}

// cleanName returns the canonical form of a name, or an error if it leads out of
// the archive.
func cleanName(name string) (string, error) {
	bad := strings.HasPrefix(name, "/") || strings.ContainsAny(name, "\\\x00")
	for part := range strings.SplitSeq(name, "/") {
		bad = bad || part == ".."
	}
	if bad {
		return "", fmt.Errorf("%w: the name leaves the archive", ErrUnsafe)
	}
	return path.Clean(name), nil
}

// walkTarGz visits the files of a .tar.gz and checks its checksum.
func walkTarGz(ctx context.Context, path string, visit func(file) error) error {
	f, err := bounded.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := maxRatio.Gzip(f)
	if err != nil {
		return err
	}
	r := tar.NewReader(z)
	for entries := int64(0); ctx.Err() == nil; entries++ {
		h, err := r.Next()
		if err := z.CheckEntries(entries); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			// The checksum of gzip comes after the end of the tar archive.
			_, err := io.Copy(io.Discard, io.LimitReader(z, maxText))
			return truncated(err)
		}
		if err != nil {
			return truncated(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue // folders, and links, which are never followed in archives
		}
		open := func() (io.ReadCloser, error) { return io.NopCloser(r), nil }
		if err := visit(file{h.Name, h.Size, open}); err != nil {
			return truncated(err)
		}
	}
	return ctx.Err()
}

// truncated explains an unexpected end of the archive.
func truncated(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, new(*FileError)) {
		return fmt.Errorf("the archive is truncated: %w", err)
	}
	return err
}

// walkZip visits the files of a .zip.
func walkZip(ctx context.Context, path string, visit func(file) error) error {
	z, opened, err := openZip(path)
	if err != nil {
		return err
	}
	defer func() { _ = opened.Close() }() // nothing was written that it could lose
	for _, f := range z.File {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !f.Mode().IsRegular() {
			continue
		}
		if err := visit(file{f.Name, int64(f.UncompressedSize64), f.Open}); err != nil {
			return err
		}
	}
	return nil
}

// openZip opens a .zip and checks its directory.
func openZip(path string) (*zip.Reader, io.Closer, error) {
	f, err := bounded.Open(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	z, err := maxRatio.Zip(f, info.Size())
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return z, f, nil
}

// zipByName opens files of a .zip by name. The archive stays open for as long as
// the returned function is in use.
func zipByName(path string) (func(name string) (file, error), error) {
	z, _, err := openZip(path)
	if err != nil {
		return nil, err
	}
	entries := make(map[string]*zip.File, len(z.File))
	for _, e := range z.File {
		if name, err := cleanName(e.Name); err == nil {
			entries[name] = e
		}
	}
	return func(name string) (file, error) {
		e, ok := entries[name]
		if !ok {
			return file{}, fs.ErrNotExist
		}
		return file{name, int64(e.UncompressedSize64), e.Open}, nil
	}, nil
}

// dirByName opens files of a folder by name.
func dirByName(root string) (func(name string) (file, error), error) {
	return func(name string) (file, error) {
		p := filepath.Join(root, filepath.FromSlash(name))
		info, err := os.Stat(p)
		if err != nil {
			return file{}, err
		}
		return file{name, info.Size(), func() (io.ReadCloser, error) { return bounded.Open(p) }}, nil
	}, nil
}
