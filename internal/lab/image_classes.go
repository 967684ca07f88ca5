package lab

import (
	"fmt"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
)

// orderClasses puts the classes of the images into the order in which the parents have
// them. Parents that name no classes, or none that the images have, number them as the
// images do.
func (i *Images) orderClasses(parents []*models.Model) error {
	names := parents[0].ClassNames()
	for k, m := range parents {
		if other := m.ClassNames(); other != nil && names != nil && !slices.EqualFunc(other, names, strings.EqualFold) {
			return fmt.Errorf("parents 0 and %d name their classes %q and %q", k, names, other)
		}
	}
	order := make([]int32, len(i.Train.Classes))
	known := map[int32]bool{} // indices among the names
	for k, class := range i.Train.Classes {
		at := slices.Index(names, class)
		if at < 0 {
			at = slices.IndexFunc(names, func(name string) bool { return strings.EqualFold(name, class) })
		}
		if order[k] = int32(at); at >= 0 {
			known[order[k]] = true
		}
	}
	switch {
	case names == nil:
		return nil
	case len(known) == 0:
		cli.Notice("the parents call their classes %s and so on, not %s: they are taken in the order of %s",
			names[0], i.Train.Classes[0], i.Label)
		return nil
	case len(known) < len(order):
		return fmt.Errorf("%s has the classes %.100q, the parents have %.100q: only %d have the same names", i.Label,
			i.Train.Classes, names, len(known))
	}
	i.Train, i.Test = reordered(i.Train, names, order), reordered(i.Test, names, order)
	return nil
}

// reordered returns a set whose class k is called names[order[k]] and has that number.
func reordered(set *data.Set, names []string, order []int32) *data.Set {
	out := *set
	out.Classes, out.Labels = names, make([]int32, len(set.Labels))
	for k, label := range set.Labels {
		out.Labels[k] = order[label]
	}
	return &out
}
