package data

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/otfuse/otfuse/models"
)

// OpenCIFAR10JPEG reads CIFAR-10 from a folder or archive of JPEG images
// train|test/<class>/NNNN.jpg with order.txt, the image of every record of the
// official distribution line by line, and labels.u8, their labels. Both sets
// are in the official order. Report results on it as "CIFAR-10 (JPEG q75)":
// the compression loses detail.
//
// observe, where not nil, is told how many images have been decoded.
func OpenCIFAR10JPEG(ctx context.Context, path string, observe func(models.Progress)) (train, test *Set, err error) {
	a, err := openArchive(path, 4)
	if err != nil {
		return nil, nil, err
	}
	texts, err := a.smallFiles(ctx, "order.txt", "labels.u8")
	if err != nil {
		return nil, nil, err
	}
	order := strings.Fields(string(texts["order.txt"].data))
	labels := texts["labels.u8"].data
	if len(order) != len(labels) {
		return nil, nil, a.fileError("", -1,
			fmt.Errorf("order.txt has %d lines and labels.u8 %d bytes", len(order), len(labels)))
	}
	slots, train, test, err := a.recordSlots(order, labels, texts["order.txt"].dir)
	if err != nil {
		return nil, nil, err
	}
	if _, err := a.decodeAll(ctx, slots, 0, observe); err != nil {
		return nil, nil, err
	}
	return train, test, nil
}

// recordSlots assigns every line of order.txt a place in one of the two sets.
func (a archive) recordSlots(order []string, labels []byte, dir string) (
	slots map[string]slot, train, test *Set, err error,
) {
	train, test = emptySet(32, 32, cifar10Classes()), emptySet(32, 32, cifar10Classes())
	slots = make(map[string]slot, len(order))
	for i, name := range order {
		split, rest, _ := strings.Cut(name, "/")
		set := map[string]*Set{"train": train, "test": test}[split]
		class, _, _ := strings.Cut(rest, "/")
		l := int(labels[i])
		switch {
		case set == nil:
			err = fmt.Errorf("line %d: %q is neither in train nor in test", i+1, name)
		case l >= len(set.Classes):
			err = fmt.Errorf("record %d: label %d of %d classes", i, l, len(set.Classes))
		case set.Classes[l] != class:
			err = fmt.Errorf("line %d: %q has label %s in labels.u8", i+1, name, set.Classes[l])
		}
		if err != nil {
			return nil, nil, nil, a.fileError("order.txt", -1, err)
		}
		slots[path.Join(dir, name)] = slot{set, set.Len()}
		set.Labels = append(set.Labels, int32(l))
	}
	if len(slots) != len(order) {
		return nil, nil, nil, a.fileError("order.txt", -1, errors.New("an image occurs twice"))
	}
	for _, s := range []*Set{train, test} {
		s.allocate()
	}
	return slots, train, test, nil
}

// text is a small file that describes a set.
type text struct {
	dir  string
	data []byte
}

// smallFiles reads the files with the given base names. Each must be there
// exactly once.
func (a archive) smallFiles(ctx context.Context, names ...string) (map[string]text, error) {
	found := make(map[string]text, len(names))
	err := a.visitFiles(ctx, func(f file) error {
		dir, base := path.Split(f.name)
		for _, name := range names {
			if base != name {
				continue
			}
			if _, twice := found[name]; twice {
				return a.fileError(f.name, -1, errors.New("the file occurs twice"))
			}
			raw, err := a.bytes(f, maxText)
			if err != nil {
				return err
			}
			found[name] = text{dir, raw}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, ok := found[name]; !ok {
			return nil, a.fileError(name, -1, errors.New("the file is missing"))
		}
	}
	return found, nil
}

// emptySet returns a set without images.
func emptySet(h, w int, classes []string) *Set {
	return &Set{Pixels: []byte{}, Labels: []int32{}, C: 3, H: h, W: w, Classes: classes}
}

// allocate makes room for the pixels of all labels.
func (s *Set) allocate() { s.Pixels = make([]byte, s.bytes()) }

func cifar10Classes() []string {
	return []string{"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"}
}
