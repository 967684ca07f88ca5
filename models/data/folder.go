package data

import (
	"context"
	"fmt"
	"slices"

	"github.com/otfuse/otfuse/models"
)

// maxSize is the largest height and width that images are scaled to.
const maxSize = 4096

// Size is the height and the width of images in pixels.
type Size struct{ H, W int }

// OpenImageFolder reads a folder, .tar.gz or .zip of images (JPEG, PNG, WebP, BMP,
// GIF, TIFF)
//
//	train|val|test/<class>/…/<image>
//	<class>/…/<image>
//
// and the layouts of Tiny ImageNet, where val/val_annotations.txt names the
// classes of val/images/<image>, and of ImageNet-1k, where LOC_val_solution.csv
// names those of val/<image>; the images of test then have no labels. The test
// set is test where it has labels, else val. Where neither has any, o.HeldOut of
// the images of each class are the test set, always the same ones, and o.Observe
// is told so.
//
// Splits may also be called training, testing, valid, validation, dev or eval, be
// written with capital letters, have an addition such as in training_set and lie
// within a folder of the same name. Links are followed. Files and folders that are
// hidden, that is begin with a dot, are skipped, as is __MACOSX.
//
// Classes are the folders of train in alphabetical order, under the names that
// a words.txt of lines "<class>\t<name>" or a LOC_synset_mapping.txt of lines
// "<class> <name>" gives them; images come in the order of class and file name.
// An image of another size is scaled to cover o.Size, and its middle is cut out;
// grey is expanded to three channels. Truncated archives, classes that train does
// not have and archives with entries that lead out of them are a [*FileError] that
// names the entry. Images that cannot be decoded are left out, up to o.Broken.
//
// Sets of more than o.Memory bytes are decoded on demand. Then only the images on
// which their norm is measured are read here. An image that turns out to be broken
// later is replaced by the next one of its class.
//
// Files in folders of images that are not images by their extension, and images
// that belong to no class, are skipped. O.Observe is told how many files are
// skipped, how many images cannot be decoded and the first one's name, and how
// many images have been decoded.
func OpenImageFolder(ctx context.Context, path string, o Options) (train, test *Set, err error) {
	size, err := checkedSize(o.size())
	if err != nil {
		return nil, nil, fmt.Errorf("data: %w", err)
	}
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	a, err := openArchive(path, maxDepth)
	if err != nil {
		return nil, nil, err
	}
	l, err := a.listImages(ctx)
	if err != nil {
		return nil, nil, err
	}
	l.arrange()
	if l.skipped > 0 {
		o.observe(models.Progress{Stage: "skipping", Done: l.skipped,
			Item: fmt.Sprintf("%d files that are no images of a class, such as %s", l.skipped, l.skippedName)})
	}
	if train, test, err = l.splitSets(size, o); err != nil {
		return nil, nil, err
	}
	if train.bytes()+test.bytes() > o.memoryLimit() {
		if err := a.streamSets(ctx, train, test, o); err != nil {
			return nil, nil, err
		}
		return train, test, nil
	}
	return train, test, a.decodeSets(ctx, train, test, o)
}

// maxDepth is how many levels of folders are searched for images.
const maxDepth = 16

// check reports options that cannot be meant.
func (o Options) check() error {
	switch {
	case o.Memory < 0:
		return fmt.Errorf("data: memory is %d bytes", o.Memory)
	case !(o.HeldOut >= 0 && o.HeldOut < 1):
		return fmt.Errorf("data: %v of the images are to be held out, want a share of at least 0 and below 1", o.HeldOut)
	case o.Broken != nil && *o.Broken < 0:
		return fmt.Errorf("data: %d broken images may be left out", *o.Broken)
	}
	return nil
}

// observe tells o.Observe, where there is one.
func (o Options) observe(p models.Progress) {
	if o.Observe != nil {
		o.Observe(p)
	}
}

// decodeSets decodes all images of sets that have file names. Those that cannot be
// decoded are taken out of the sets.
func (a archive) decodeSets(ctx context.Context, train, test *Set, o Options) error {
	slots := make(map[string]slot, train.Len()+test.Len())
	for _, s := range []*Set{train, test} {
		for i, name := range s.names {
			slots[name] = slot{s, i}
		}
		s.allocate()
	}
	limit := o.brokenLimit(len(slots))
	broken, err := a.decodeAll(ctx, slots, limit, o.Observe)
	if err != nil {
		return err
	}
	if len(broken) > 0 {
		o.observe(leftOut(len(broken), broken[0].err))
	}
	for _, s := range []*Set{train, test} {
		s.names = nil
		if len(broken) > 0 {
			s.remove(broken)
		}
	}
	for class, name := range train.Classes {
		if !slices.Contains(train.Labels, int32(class)) {
			return fmt.Errorf("data: no image of class %q can be decoded, such as %w", name, broken[0].err)
		}
	}
	if test.Len() == 0 {
		return fmt.Errorf("data: no image to test on can be decoded, such as %w", broken[0].err)
	}
	return nil
}

// brokenLimit is how many of so many images may be left out because they cannot be
// decoded.
func (o Options) brokenLimit(images int) int {
	if o.Broken != nil {
		return *o.Broken
	}
	return max(10, images/100)
}

// leftOut is what o.Observe is told about images that cannot be decoded.
func leftOut(n int, first error) models.Progress {
	return models.Progress{Stage: "leaving out", Done: n,
		Item: fmt.Sprintf("%d images that cannot be decoded, such as %v", n, first)}
}

// remove takes broken images out of a set that is held in memory.
func (s *Set) remove(broken []brokenImage) {
	bad := make(map[int]bool, len(broken))
	for _, b := range broken {
		if b.slot.set == s {
			bad[b.slot.index] = true
		}
	}
	d, kept := s.imageLen(), 0
	for i, label := range s.Labels {
		if bad[i] {
			continue
		}
		copy(s.Pixels[kept*d:(kept+1)*d], s.Pixels[i*d:(i+1)*d])
		s.Labels[kept] = label
		kept++
	}
	s.Pixels, s.Labels = s.Pixels[:kept*d], s.Labels[:kept]
}
