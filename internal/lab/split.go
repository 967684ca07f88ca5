package lab

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/otfuse/otfuse/models/data"
)

// Split names one of several parts of a training set that have no sample in common.
//
// Every class has a home among the parts. A share Skew of its images goes there, and
// what is left is dealt evenly to all parts. Of two parts, Skew 0.6 gives one 80 % of
// half of the classes and 20 % of the others.
type Split struct {
	Part  int // from 1
	Parts int
	Skew  float64 // from 0, where parts are alike, to 1, where they have no class in common
	Seed  uint64  // of what is dealt; that of all parts of a set
}

// ParseSplit reads a split as PART/PARTS, such as 1/2.
func ParseSplit(text string) (Split, error) {
	part, parts, ok := strings.Cut(text, "/")
	i, errPart := strconv.Atoi(part)
	n, errParts := strconv.Atoi(parts)
	if !ok || errPart != nil || errParts != nil {
		return Split{}, fmt.Errorf("%q, want a part and the number of parts, such as 1/2", text)
	}
	s := Split{Part: i, Parts: n}
	return s, s.check()
}

func (s Split) check() error {
	switch {
	case s.Parts < 1 || s.Part < 1 || s.Part > s.Parts:
		return fmt.Errorf("part %d of %d, want 1 to the number of parts", s.Part, s.Parts)
	case !(s.Skew >= 0 && s.Skew <= 1):
		return fmt.Errorf("a skew of %g, want 0 to 1", s.Skew)
	}
	return nil
}

// String says which part it is.
func (s Split) String() string {
	if s.Skew == 0 {
		return fmt.Sprintf("part %d of %d", s.Part, s.Parts)
	}
	return fmt.Sprintf("part %d of %d at skew %g", s.Part, s.Parts, s.Skew)
}

// Of returns the samples of the part, in ascending order, of those that have the given
// labels, 0 to classes - 1.
func (s Split) Of(labels []int32, classes int) []int {
	rng := rand.New(rand.NewPCG(s.Seed, 9))
	members := make([][]int, classes)
	for i, label := range labels {
		members[label] = append(members[label], i)
	}
	var out []int
	dealt := 0
	for rank, class := range rng.Perm(classes) {
		home := rank * s.Parts / classes
		for k, at := range rng.Perm(len(members[class])) {
			to := home
			if float64(k) >= s.Skew*float64(len(members[class])) {
				to, dealt = dealt%s.Parts, dealt+1
			}
			if to == s.Part-1 {
				out = append(out, members[class][at])
			}
		}
	}
	slices.Sort(out)
	return out
}

// Restrict leaves a part of the training images, normalised by their own pixels as
// somebody would who has no others.
func (i *Images) Restrict(s Split) error {
	if err := s.check(); err != nil {
		return err
	}
	part, err := i.Train.Pick(s.Of(i.Train.Labels, len(i.Train.Classes)))
	if err != nil {
		return err
	}
	if part.Len() == 0 {
		return fmt.Errorf("%s has no images in %s", i.Label, s)
	}
	var norm data.Norm
	if norm, err = part.Norm(); err != nil {
		return err
	}
	i.Train, i.Norm, i.Label = part, norm, i.Label+", "+s.String()
	return nil
}
