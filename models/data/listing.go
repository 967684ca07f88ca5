package data

import (
	"cmp"
	"context"
	"errors"
	"path"
	"slices"
	"strings"
)

// picture is an image of a folder, before it is read. Its split is "train", "val"
// or "test", or empty where the folder has no splits; its class is empty where its
// folder names none.
type picture struct{ name, split, class string }

// listing is what an archive holds as a folder of images.
type listing struct {
	archive   archive
	pictures  []picture
	annotated map[string]string // classes of val by file name or its stem; nil where no file lists them
	words     map[string]string // names of classes

	others      []string // files that are neither images nor notes about them
	skipped     int      // files in folders of images that are not read as such
	skippedName string   // the first of them
}

func (a archive) listImages(ctx context.Context) (*listing, error) {
	l := &listing{archive: a}
	err := a.visitFiles(ctx, func(f file) error {
		var err error
		switch base := path.Base(f.name); {
		case base == "val_annotations.txt":
			l.annotated, err = a.readTable(f, "\t")
		case base == "words.txt":
			l.words, err = a.readTable(f, "\t")
		case base == "LOC_val_solution.csv":
			l.annotated, err = a.readTable(f, ",")
			for name, class := range l.annotated {
				l.annotated[name], _, _ = strings.Cut(class, " ") // a box follows
			}
		case base == "LOC_synset_mapping.txt":
			l.words, err = a.readTable(f, " ")
		case isHidden(f.name):
		case isImage(base):
			l.pictures = append(l.pictures, picture{name: f.name})
		case !isSideFile(base):
			l.others = append(l.others, f.name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(l.pictures, func(a, b picture) int { return cmp.Compare(a.name, b.name) })
	for i := 1; i < len(l.pictures); i++ {
		if n := l.pictures[i].name; n == l.pictures[i-1].name {
			return nil, a.fileError(n, -1, errors.New("the image is there twice"))
		}
	}
	return l, nil
}

// isSideFile reports whether a file in a folder of images describes them and is
// not an image itself.
func isSideFile(name string) bool {
	notes := []string{".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".md", ".ini", ".db"}
	return slices.Contains(notes, strings.ToLower(path.Ext(name)))
}

// isHidden reports whether a file or a folder that it lies in is hidden.
func isHidden(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") || part == "__MACOSX" {
			return true
		}
	}
	return false
}

// readTable reads a file with a key, a separator and a value on each line. A value
// ends at a tab.
func (a archive) readTable(f file, separator string) (map[string]string, error) {
	raw, err := a.bytes(f, maxText)
	if err != nil {
		return nil, err
	}
	m := make(map[string]string)
	for line := range strings.Lines(string(raw)) {
		key, rest, ok := strings.Cut(strings.TrimRight(line, "\r\n"), separator)
		if ok {
			m[key], _, _ = strings.Cut(rest, "\t")
		}
	}
	return m, nil
}
