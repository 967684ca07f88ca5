package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/otfuse/otfuse/internal/bounded"
)

// The files that a program writes into its directory.
const (
	JSONFile = "report.json"
	PageFile = "report.html"
)

// pictureFiles are what [Page.WritePlots] writes.
func pictureFiles() []string {
	return []string{"line-accuracy.svg", "line-loss.svg", "finetuning-accuracy.svg", "finetuning-loss.svg"}
}

// The marks of a page and of a picture of this package.
const (
	pageMark    = `<meta name="generator" content="otfuse"/>`
	pictureMark = `<metadata>otfuse</metadata>`
)

// maxReport is the most bytes of a file that is looked at.
const maxReport = 64 << 20

// Replaceable reports, before any work is done, a file of a directory that a program would
// replace by its report, page or pictures and that is none: it is somebody's own.
func Replaceable(dir string) error {
	check := map[string]func([]byte) bool{JSONFile: isReport, PageFile: hasMark(pageMark)}
	for _, name := range pictureFiles() {
		check[name] = hasMark(pictureMark)
	}
	for _, name := range append([]string{JSONFile, PageFile}, pictureFiles()...) {
		text, err := bounded.ReadFile(filepath.Join(dir, name), maxReport)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("%s is not replaced: %w", filepath.Join(dir, name), err)
		case !check[name](text):
			return fmt.Errorf("%s is not replaced: no program of otfuse wrote it", filepath.Join(dir, name))
		}
	}
	return nil
}

// isReport reports whether a text is that of a [Report].
func isReport(text []byte) bool {
	var r Report
	return json.Unmarshal(text, &r) == nil && len(r.Rows) > 0 && r.Rows[0].Method != ""
}

// hasMark returns a function that finds a mark in a text.
func hasMark(mark string) func([]byte) bool {
	return func(text []byte) bool { return bytes.Contains(text, []byte(mark)) }
}
