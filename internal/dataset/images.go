package dataset

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/internal/interruptible"
	"github.com/otfuse/otfuse/models/data"
)

// shapesName is the set that [Images] draws.
const shapesName = "shapes"

// The sets of Images("shapes") are as large as those of CIFAR-10.
const (
	shapesTrain, shapesTrainSeed = 50_000, 1
	shapesTest, shapesTestSeed   = 10_000, 2
)

// ImageNames lists the sets that [Images] knows: those of [data.Names] and
// "shapes".
func ImageNames() []string { return append(data.Names(), shapesName) }

// Images returns the training and the test images of a set of [ImageNames] and
// the label that results on it must be called by: "shapes" is drawn by
// [Shapes], the others are opened by [data.Open].
func Images(ctx context.Context, name string, o data.Options) (train, test *data.Set, label string, err error) {
	if name == shapesName {
		drawn, err := interruptible.Value(ctx, func() ([2]*data.Set, error) {
			return [2]*data.Set{Shapes(shapesTrain, shapesTrainSeed), Shapes(shapesTest, shapesTestSeed)}, nil
		})
		if err != nil {
			return nil, nil, "", err
		}
		return drawn[0], drawn[1], shapesName, nil
	}
	if !slices.Contains(data.Names(), name) {
		return nil, nil, "", fmt.Errorf("no set is called %q; there are %s", name, strings.Join(ImageNames(), ", "))
	}
	return data.Open(ctx, name, o)
}
