package data

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/otfuse/otfuse/internal/dataset/fetch"
)

// source is a data set with a name: where it comes from, and the forms in which
// it may be on this machine, the best first.
type source struct {
	name, title string
	full        int        // images of the whole set
	remote      fetch.File // without a URL where there is no official archive
	forms       []edition
	pickled     string // folder of the version for Python, which is not read
}

// edition is a form of a set on disk.
type edition struct {
	file string // file or folder
	note string // added to the label
	open func(ctx context.Context, path string, o Options) (train, test *Set, err error)
}

// imageSources lists the sets that [Open] opens.
func imageSources() []source {
	ten := func(ctx context.Context, path string, _ Options) (*Set, *Set, error) { return OpenCIFAR10(ctx, path) }
	hundred := func(ctx context.Context, path string, _ Options) (*Set, *Set, error) { return OpenCIFAR100(ctx, path) }
	jpeg := func(ctx context.Context, path string, o Options) (*Set, *Set, error) {
		return OpenCIFAR10JPEG(ctx, path, o.Observe)
	}
	tiny := OpenImageFolder
	return []source{
		{
			name: "cifar10", title: "CIFAR-10", full: 60_000, pickled: "cifar-10-batches-py",
			remote: fetch.File{
				URL:    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
				SHA256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
			},
			forms: []edition{
				{"cifar-10-binary.tar.gz", "", ten}, {"cifar-10-batches-bin", "", ten},
				{"cifar10-jpeg-q75.tar.gz", "JPEG q75", jpeg}, {"cifar10-jpeg-q75", "JPEG q75", jpeg},
				{"cifar10-exact-6102-bin.tar.gz", "", ten},
			},
		}, {
			name: "cifar100", title: "CIFAR-100", full: 60_000, pickled: "cifar-100-python",
			remote: fetch.File{
				URL:    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
				SHA256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
			},
			forms: []edition{
				{"cifar-100-binary.tar.gz", "", hundred}, {"cifar-100-binary", "", hundred},
				{"cifar100-exact-2033-bin.tar.gz", "", hundred},
			},
		}, {
			name: "tinyimagenet", title: "Tiny ImageNet", full: 110_000,
			remote: fetch.File{
				URL:    "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
				SHA256: "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
			},
			forms: []edition{
				{"tiny-imagenet-200.zip", "", tiny}, {"tiny-imagenet-200", "", tiny}, {"tiny-imagenet-200.tar.gz", "", tiny},
				{"tiny-imagenet-20cls.tar.gz", "", tiny},
			},
		},
	}
}

// textSources are the sets that package text reads: this package only finds them.
func textSources() []source {
	return []source{
		{
			name: "wikitext2", title: "WikiText-2",
			remote: fetch.File{
				URL:    "https://wikitext.smerity.com/wikitext-2-v1.zip",
				SHA256: "92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c",
			},
			forms: []edition{{file: "wikitext-2-v1.zip"}, {file: "wikitext-2"}, {file: "wikitext-2.tar.gz"}},
		}, {
			name: "wiki2016", title: "Wikipedia articles of 2016",
			forms: []edition{{file: "wiki-en-2016"}, {file: "wiki-en-2016.tar.gz"}},
		},
	}
}

// lookupSource finds a source by name. The error lists the names, and others.
func lookupSource(name string, from []source, others ...string) (source, error) {
	for _, s := range from {
		if s.name == name {
			return s, nil
		}
	}
	known := strings.Join(append(sourceNames(from), others...), ", ")
	return source{}, fmt.Errorf("data: no set is called %q; there are %s", name, known)
}

func sourceNames(from []source) []string {
	var names []string
	for _, s := range from {
		names = append(names, s.name)
	}
	return names
}

// Names lists the names that [Open] knows: "cifar10", "cifar100",
// "tinyimagenet" and "imagefolder".
func Names() []string { return append(sourceNames(imageSources()), imageFolder) }

// imageFolder is the name for the images in o.Dir.
const imageFolder = "imagefolder"

// Open returns the training and the test images of a set of [Names], found as
// [Find] says; "imagefolder" is what [OpenImageFolder] reads at o.Dir.
//
// The label is the name under which results on the set must be reported: "CIFAR-10", or "CIFAR-10
// (JPEG q75)" for the lossy copy, or "CIFAR-10 (6102 images)" for a part.
func Open(ctx context.Context, name string, o Options) (train, test *Set, label string, err error) {
	if name == imageFolder {
		if o.Dir == "" {
			return nil, nil, "", fmt.Errorf("data: imagefolder needs the folder or archive of images")
		}
		train, test, err = OpenImageFolder(ctx, o.Dir, o)
		if err != nil {
			return nil, nil, "", err
		}
		return train, test, "images of " + filepath.Base(o.Dir), nil
	}
	s, err := lookupSource(name, imageSources(), imageFolder)
	if err != nil {
		return nil, nil, "", err
	}
	where, e, err := s.locate(ctx, o)
	if err != nil {
		return nil, nil, "", err
	}
	train, test, err = e.open(ctx, where, o)
	if err != nil {
		return nil, nil, "", err
	}
	return train, test, s.label(e, train.Len()+test.Len()), nil
}

func (o Options) size() Size {
	if o.Size == (Size{}) {
		return Size{64, 64}
	}
	return o.Size
}

// memoryLimit returns the most bytes of decoded images that are held in memory.
func (o Options) memoryLimit() int64 { return cmp.Or(o.Memory, 4<<30) }

func (s source) label(e edition, images int) string {
	var notes []string
	if e.note != "" {
		notes = append(notes, e.note)
	}
	if images != s.full {
		notes = append(notes, fmt.Sprintf("%d images", images))
	}
	if len(notes) == 0 {
		return s.title
	}
	return s.title + " (" + strings.Join(notes, ", ") + ")"
}
