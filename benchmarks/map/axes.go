package main

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/otfuse/otfuse/internal/lab"
)

// axes are the values of the map along each of its directions.
type axes struct {
	archs    []string
	widths   []int
	likeness []string
	samples  []int
	budgets  []int
	pairs    int
	draws    int
}

// everything is the whole map.
func everything() axes {
	return axes{archs: []string{"vit", "simplevit", "bert", "gpt2", "llama"}, widths: []int{64, 128, 256},
		likeness: []string{same, "80/20", "95/5"}, samples: []int{0, 50, 200, 2000, all}, budgets: []int{0, 1, 10, 100},
		pairs: 3, draws: 1}
}

// all samples of the training set.
const all = -1

// same is the likeness of parents that saw the same data.
const same = "same"

// skews are the likenesses of two parents by the share of half of the classes that one
// of them has: see [lab.Split].
func skews() map[string]float64 { return map[string]float64{same: 0, "80/20": 0.6, "95/5": 0.9} }

// updatesPerSecond is how a budget of seconds is counted, so that it is the same on every
// machine: two cores make about as many updates of 64 images at a width of 128.
const updatesPerSecond = 10

func (a *axes) flags(f *flag.FlagSet) {
	texts := func(to *[]string, name, usage string) {
		f.Func(name, usage+fmt.Sprintf(" (default %s)", strings.Join(*to, ",")), func(list string) error {
			*to = strings.Split(list, ",")
			return nil
		})
	}
	numbers := func(to *[]int, name, usage string) {
		f.Func(name, usage+fmt.Sprintf(" (default %s)", join(*to)), func(list string) (err error) {
			*to, err = parseNumbers(list)
			return err
		})
	}
	texts(&a.archs, "archs", "`architectures`")
	numbers(&a.widths, "widths", "hidden `units`")
	texts(&a.likeness, "likeness", "`shares` of the data of one half of the classes and of the other")
	numbers(&a.samples, "samples", "`samples` to fuse and train on, -1 for all")
	numbers(&a.budgets, "budgets", fmt.Sprintf("`seconds` of training, of %d updates each", updatesPerSecond))
	f.IntVar(&a.pairs, "pairs", a.pairs, "`pairs` of parents of each kind")
	f.IntVar(&a.draws, "draws", a.draws, "`draws` of the samples for each pair")
}

// join writes numbers as a list.
func join(numbers []int) string {
	var out []string
	for _, n := range numbers {
		out = append(out, strconv.Itoa(n))
	}
	return strings.Join(out, ",")
}

func parseNumbers(list string) ([]int, error) {
	var out []int
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no number", text)
		}
		out = append(out, n)
	}
	return out, nil
}

func (a axes) check() error {
	for _, name := range a.archs {
		if _, ok := classes()[name]; !ok {
			return fmt.Errorf("-archs has %q, allowed are %s", name, strings.Join(slices.Sorted(maps.Keys(classes())), ", "))
		}
	}
	for _, name := range a.likeness {
		if _, ok := skews()[name]; !ok {
			return fmt.Errorf("-likeness has %q, allowed are %s", name, strings.Join(slices.Sorted(maps.Keys(skews())), ", "))
		}
	}
	if slices.Min(a.widths) < 1 || slices.Min(a.samples) < all || slices.Min(a.budgets) < 0 || a.pairs < 1 || a.draws < 1 {
		return fmt.Errorf("-widths, -pairs and -draws must be at least 1, -samples at least %d, -budgets at least 0", all)
	}
	return nil
}

// A pair says which two parents are fused.
type pair struct {
	Arch     string `json:"arch"`
	Width    int    `json:"width"`
	Likeness string `json:"likeness"`
	Pair     int    `json:"pair"`
}

// A parent is one of a pair.
type parent struct {
	pair
	which int // 0 or 1
}

// String names the directory of the parent.
func (p parent) String() string {
	return fmt.Sprintf("%s-%d-%s-p%d-%d", p.Arch, p.Width, strings.ReplaceAll(p.Likeness, "/", "."), p.Pair, p.which)
}

// split is the part of the data that the parent sees; the zero value for all.
func (p parent) split() lab.Split {
	if p.Likeness == same {
		return lab.Split{}
	}
	return lab.Split{Part: p.which + 1, Parts: 2, Skew: skews()[p.Likeness], Seed: uint64(p.Pair)}
}

// A cell is a point of the map for one pair and one draw of samples.
type cell struct {
	pair
	Samples int `json:"samples"` // -1 for all
	Budget  int `json:"budget"`
	Draw    int `json:"draw"`
}

// String names the file of the cell.
func (c cell) String() string {
	return fmt.Sprintf("%s-%d-%s-n%d-b%d-p%d-d%d", c.Arch, c.Width, strings.ReplaceAll(c.Likeness, "/", "."), c.Samples,
		c.Budget, c.Pair, c.Draw)
}

// updates is the budget.
func (c cell) updates() int { return c.Budget * updatesPerSecond }

// pairs lists the pairs, first ones first.
func (a axes) eachPair() []pair {
	var out []pair
	for k := range a.pairs {
		for _, arch := range a.archs {
			for _, width := range a.widths {
				for _, likeness := range a.likeness {
					out = append(out, pair{arch, width, likeness, k})
				}
			}
		}
	}
	return out
}

// parents lists what is to be trained.
func (a axes) parents() []parent {
	var out []parent
	for _, p := range a.eachPair() {
		out = append(out, parent{p, 0}, parent{p, 1})
	}
	return out
}

// cells lists the items. Without samples nothing can be trained.
func (a axes) cells() []cell {
	var out []cell
	for draw := range a.draws {
		for _, p := range a.eachPair() {
			for _, samples := range a.samples {
				for _, budget := range a.budgets {
					if samples != 0 || budget == 0 {
						out = append(out, cell{p, samples, budget, draw})
					}
				}
			}
		}
	}
	return out
}
