package data

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"path"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/models"
)

// splitSets returns the training and the test set, with file names in place of
// pixels.
func (l *listing) splitSets(size Size, o Options) (train, test *Set, err error) {
	held, err := l.labelled()
	if err != nil {
		return nil, nil, err
	}
	if len(held) == 0 {
		held = l.holdOut(o)
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
			errors.New("no images of the form train/<class>/<image> or <class>/<image>, or none to test on"))
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

// labelled returns the labelled images of the test set: those of test where there
// are any, else those of val.
func (l *listing) labelled() ([]picture, error) {
	var held []picture
	split := "val"
	if l.annotated == nil && slices.ContainsFunc(l.pictures, func(p picture) bool {
		return p.split == "test" && p.class != ""
	}) {
		split = "test"
	}
	inClasses := l.annotated == nil && slices.ContainsFunc(l.pictures, func(p picture) bool {
		return p.split == split && p.class != ""
	})
	for _, p := range l.pictures {
		if p.split != split || p.class == "" && inClasses {
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

// holdOut moves some images of each class from train to a test set, where a folder
// brings no labelled one. A class of one image keeps it. Which images they are
// follows from their names, so that a folder is always split in the same way, and
// in much the same way when images are added.
func (l *listing) holdOut(o Options) []picture {
	share := cmp.Or(o.HeldOut, 0.2)
	root := commonFolder(l.pictures)
	order := func(p picture) uint64 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(strings.TrimPrefix(p.name, root))) // never fails
		return h.Sum64()
	}
	var kept, held []picture
	for from := 0; from < len(l.pictures); {
		to := from + 1
		for to < len(l.pictures) && l.pictures[to].class == l.pictures[from].class &&
			l.pictures[to].split == l.pictures[from].split {
			to++
		}
		class := slices.Clone(l.pictures[from:to])
		from = to
		if class[0].split != "train" {
			kept = append(kept, class...)
			continue
		}
		slices.SortFunc(class, func(a, b picture) int {
			return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a.name, b.name))
		})
		n := min(max(1, int(share*float64(len(class))+0.5)), len(class)-1)
		held, kept = append(held, class[:n]...), append(kept, class[n:]...)
	}
	l.pictures = sorted(kept)
	if len(held) > 0 {
		o.observe(models.Progress{Stage: "splitting", Done: len(held), Total: len(held) + len(kept),
			Item: fmt.Sprintf("%d images held out to test on, as the folder brings none that have labels", len(held))})
	}
	return sorted(held)
}

// sorted puts images in the order of class and name.
func sorted(pictures []picture) []picture {
	slices.SortFunc(pictures, func(a, b picture) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.split, b.split), cmp.Compare(a.name, b.name))
	})
	return pictures
}
