package data

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/models"
)

// maxSize is the largest height and width that images are scaled to.
const maxSize = 4096

// Size is the height and the width of images in pixels.
type Size struct{ H, W int }

// OpenImageFolder reads a folder, .tar.gz or .zip of JPEG and PNG images
//
//	train|val|test/<class>/<image>
//	train|val|test/<class>/images/<image>
//
// and the layouts of Tiny ImageNet, where val/val_annotations.txt names the
// classes of val/images/<image>, and of ImageNet-1k, where LOC_val_solution.csv
// names those of val/<image>; the images of test then have no labels. The test
// set is test where it has labels, else val.
//
// Classes are the folders of train in alphabetical order, under the names that
// a words.txt of lines "<class>\t<name>" or a LOC_synset_mapping.txt of lines
// "<class> <name>" gives them; images come in the order of class and file name.
// An image of another size is scaled to cover o.Size, and its middle is cut out;
// grey is expanded to three channels. Truncated images and archives, classes that
// train does not have and archives with entries that lead out of them are a
// [*FileError] that names the entry.
//
// Sets of more than o.Memory bytes are decoded on demand. Then only the images on
// which their norm is measured are read here, and a broken image is reported when
// it is decoded.
//
// Files beside the images that are neither JPEG nor PNG by their extension are
// skipped, and o.Observe is told how many there are and the first one's name. It
// is also told how many images have been decoded.
func OpenImageFolder(ctx context.Context, path string, o Options) (train, test *Set, err error) {
	size, err := checkedSize(o.size())
	if err != nil {
		return nil, nil, fmt.Errorf("data: %w", err)
	}
	if o.Memory < 0 {
		return nil, nil, fmt.Errorf("data: memory is %d bytes", o.Memory)
	}
	a, err := openArchive(path, 7)
	if err != nil {
		return nil, nil, err
	}
	l, err := a.listImages(ctx)
	if err != nil {
		return nil, nil, err
	}
	if l.skipped > 0 && o.Observe != nil {
		o.Observe(models.Progress{Stage: "skipping", Done: l.skipped,
			Item: fmt.Sprintf("%d files that are neither .jpg nor .png, such as %s", l.skipped, l.skippedName)})
	}
	if train, test, err = l.splitSets(size); err != nil {
		return nil, nil, err
	}
	if train.bytes()+test.bytes() > o.memoryLimit() {
		if err := a.streamSets(ctx, train, test, o.Observe); err != nil {
			return nil, nil, err
		}
		return train, test, nil
	}
	slots := make(map[string]slot, train.Len()+test.Len())
	for _, s := range []*Set{train, test} {
		for i, name := range s.names {
			slots[name] = slot{s, i}
		}
		s.names = nil
		s.allocate()
	}
	if err := a.decodeAll(ctx, slots, o.Observe); err != nil {
		return nil, nil, err
	}
	return train, test, nil
}

// picture is an image of a folder, before it is read.
type picture struct{ name, split, class string }

// listing is what an archive holds as a folder of images.
type listing struct {
	archive   archive
	pictures  []picture
	annotated map[string]string // classes of val by file name or its stem; nil where no file lists them
	words     map[string]string // names of classes

	skipped     int    // files in folders of images that are not read as such
	skippedName string // the first of them
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
		case isImage(base) && !strings.HasPrefix(base, "."):
			if p, ok := newPicture(f.name); ok {
				l.pictures = append(l.pictures, p)
			}
		case !isSideFile(base):
			if _, ok := newPicture(f.name); !ok {
				break
			}
			if l.skipped++; l.skipped == 1 || f.name < l.skippedName {
				l.skippedName = f.name
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(l.pictures, func(a, b picture) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.name, b.name))
	})
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
	notes := []string{".txt", ".csv", ".tsv", ".json", ".xml", ".md"}
	return strings.HasPrefix(name, ".") || slices.Contains(notes, strings.ToLower(path.Ext(name)))
}

// newPicture reads the split and the class of an image from its name.
func newPicture(name string) (picture, bool) {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		if part != "train" && part != "val" && part != "test" {
			continue
		}
		switch rest := parts[i+1:]; {
		case len(rest) == 2, len(rest) == 3 && rest[1] == "images":
			return picture{name, part, rest[0]}, true
		case len(rest) == 1 && part == "val":
			return picture{name, part, ""}, true
		}
		return picture{}, false
	}
	return picture{}, false
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

// splitSets returns the training and the test set, with file names in place of
// pixels.
func (l *listing) splitSets(size Size) (train, test *Set, err error) {
	held, err := l.heldOut()
	if err != nil {
		return nil, nil, err
	}
	var wnids []string
	for _, p := range l.pictures {
		if p.split == "train" {
			wnids = append(wnids, p.class)
		}
	}
	wnids = slices.Compact(wnids) // the pictures are in order of class
	if len(wnids) == 0 || len(held) == 0 {
		return nil, nil, l.archive.fileError("", -1,
			errors.New("no images of the form train/<class>/<image>, or none of val or test"))
	}
	train, test = emptySet(size.H, size.W, l.classNames(wnids)), emptySet(size.H, size.W, l.classNames(wnids))
	add := func(s *Set, p picture) error {
		class, ok := slices.BinarySearch(wnids, p.class)
		if !ok {
			return l.archive.fileError(p.name, -1, fmt.Errorf("train has no class %q", p.class))
		}
		s.names = append(s.names, p.name)
		s.Labels = append(s.Labels, int32(class))
		return nil
	}
	for _, p := range l.pictures {
		if p.split == "train" && err == nil {
			err = add(train, p)
		}
	}
	for _, p := range held {
		if err == nil {
			err = add(test, p)
		}
	}
	return train, test, err
}

// heldOut returns the labelled images of the test set: those of test where there
// are any, else those of val.
func (l *listing) heldOut() ([]picture, error) {
	var held []picture
	split := "val"
	if l.annotated == nil && slices.ContainsFunc(l.pictures, func(p picture) bool { return p.split == "test" }) {
		split = "test"
	}
	for _, p := range l.pictures {
		if p.split != split {
			continue
		}
		if l.annotated != nil {
			base := path.Base(p.name)
			stem := strings.TrimSuffix(base, path.Ext(base))
			if p.class = cmp.Or(l.annotated[base], l.annotated[stem]); p.class == "" {
				return nil, l.archive.fileError(p.name, -1, errors.New("the annotations of val do not name the image"))
			}
		}
		if p.class == "" {
			return nil, l.archive.fileError(p.name, -1,
				errors.New("the image is in no folder of a class, and there are no annotations of val"))
		}
		held = append(held, p)
	}
	slices.SortFunc(held, func(a, b picture) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.name, b.name))
	})
	return held, nil
}

func (l *listing) classNames(wnids []string) []string {
	names := make([]string, len(wnids))
	for i, id := range wnids {
		names[i] = cmp.Or(l.words[id], id)
	}
	return names
}
