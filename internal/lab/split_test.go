package lab

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/dataset"
)

// TestSplit: parts are disjoint, make up the whole and have the classes that the skew
// says.
func TestSplit(t *testing.T) {
	labels := make([]int32, 1000)
	for i := range labels {
		labels[i] = int32(i % 10)
	}
	for _, parts := range []int{1, 2, 3, 5} {
		for _, skew := range []float64{0, 0.6, 1} {
			var all []int
			for part := range parts {
				idx := Split{Part: part + 1, Parts: parts, Skew: skew, Seed: 3}.Of(labels, 10)
				if skew == 0 {
					require.InDelta(t, 1000./float64(parts), len(idx), 1)
				}
				all = append(all, idx...)
			}
			slices.Sort(all)
			require.Len(t, all, 1000)
			require.Len(t, slices.Compact(all), 1000, "%d parts, skew %g", parts, skew)
		}
	}
	of := func(skew float64) []int {
		count := make([]int, 10)
		for _, i := range (Split{Part: 1, Parts: 2, Skew: skew}).Of(labels, 10) {
			count[labels[i]]++
		}
		slices.Sort(count)
		return count
	}
	require.Equal(t, []int{50, 50, 50, 50, 50, 50, 50, 50, 50, 50}, of(0))
	require.Equal(t, []int{20, 20, 20, 20, 20, 80, 80, 80, 80, 80}, of(0.6))
	require.Equal(t, []int{0, 0, 0, 0, 0, 100, 100, 100, 100, 100}, of(1))
	one, two := Split{Part: 1, Parts: 2, Skew: 1}, Split{Part: 1, Parts: 2, Skew: 1, Seed: 1}
	require.NotEqual(t, one.Of(labels, 10), two.Of(labels, 10), "another seed gives other classes")
}

func TestParseSplit(t *testing.T) {
	s, err := ParseSplit("2/3")
	require.NoError(t, err)
	require.Equal(t, Split{Part: 2, Parts: 3}, s)
	require.Equal(t, "part 2 of 3", s.String())
	for text, want := range map[string]string{"2": "such as 1/2", "a/2": "such as 1/2", "0/2": "part 0 of 2",
		"3/2": "part 3 of 2", "1/0": "part 1 of 0"} {
		_, err := ParseSplit(text)
		require.ErrorContains(t, err, want)
	}
}

// TestRestrict: a part has its own images and normalisation and says so; a network
// keeps this in its card when it is trained.
func TestRestrict(t *testing.T) {
	whole, i := fewImages(t), fewImages(t)
	require.NoError(t, i.Restrict(Split{Part: 1, Parts: 2, Skew: 0.6}))
	require.Less(t, i.Train.Len(), whole.Train.Len())
	require.Equal(t, "few shapes, part 1 of 2 at skew 0.6", i.Label)
	require.NotEqual(t, whole.Norm, i.Norm)
	require.Contains(t, describe(i, 0), i.Label)
	require.ErrorContains(t, i.Restrict(Split{Part: 1, Parts: 2, Skew: 2}), "a skew of 2")
	i.Train = dataset.Shapes(3, 1)
	require.ErrorContains(t, i.Restrict(Split{Part: 9, Parts: 9}), "no images")
}

// TestTextPart: parts of a text are parts of its sequences, in the vocabulary of the
// whole.
func TestTextPart(t *testing.T) {
	whole := fewTexts()
	m, err := whole.Network(tinyTextNet(1))
	require.NoError(t, err)
	sum := 0
	for part := 1; part <= 2; part++ {
		texts := fewTexts()
		texts.Part = Split{Part: part, Parts: 2, Skew: 0.6}
		again, err := texts.Network(tinyTextNet(1))
		require.NoError(t, err)
		require.Equal(t, m.Files, again.Files)
		require.Contains(t, describe(texts, 0), "a short encyclopedia, part "+fmt.Sprint(part))
		sum += texts.Size()
	}
	require.Equal(t, whole.Size(), sum)
	texts := fewTexts()
	texts.Part = Split{Part: 3, Parts: 2}
	_, err = texts.Network(tinyTextNet(1))
	require.ErrorContains(t, err, "part 3 of 2")
}
