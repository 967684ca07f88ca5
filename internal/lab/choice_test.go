package lab

import (
	"flag"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/recipe"
)

// chosen parses flags of a program.
func chosen(t *testing.T, args ...string) Choice {
	c := Choice{Learn: 7, Distil: 4, Batch: 5, Tokens: "all", Mixed: true}
	f := flag.NewFlagSet("program", flag.ContinueOnError)
	c.Flags(f)
	require.NoError(t, f.Parse(args))
	return c
}

// TestTrials: which trials the flags ask for, and that the first of every method is
// the one that is shown.
func TestTrials(t *testing.T) {
	flow := []string{"transport fusion, activations, sinkhorn, refit", "transport fusion, activations, sinkhorn",
		"transport fusion, activations, emd", "transport fusion, weights, sinkhorn", "transport fusion, weights, emd"}
	match := []string{"matching, activations, refit", "matching, activations", "matching, weights"}
	learned := []string{"learned matching, labels", "learned matching, no labels"}
	everything := "learned matching, all samples, no labels"
	control := "anchor, distilled on the same samples" // beside every method
	distil := []string{control, "matching, refit, distilled on the same samples"}
	for _, c := range []struct {
		args, want, shown []string
	}{
		{nil, slices.Concat(flow, match, learned, []string{SideBySide, "side by side, weights"}, distil),
			[]string{flow[0], match[0], learned[0]}},
		{[]string{"-method", "flow"}, append(slices.Clip(flow), control), flow[:1]},
		{[]string{"-method", "match"}, append(slices.Clip(match), control), match[:1]},
		{[]string{"-method", "learned"}, append(slices.Clip(learned), control), learned[:1]},
		{[]string{"-method", "learned", "-learn-on", "all,labels"}, []string{everything, learned[0], control},
			[]string{everything}},
		{[]string{"-method", "distil"}, distil, nil},
		{[]string{"-method", "flow", "-solver", "emd"}, []string{"transport fusion, activations, emd, refit",
			"transport fusion, activations, emd", "transport fusion, weights, emd", control},
			[]string{"transport fusion, activations, emd, refit"}},
	} {
		trials, err := chosen(t, c.args...).Trials()
		require.NoError(t, err)
		var labels, shown []string
		for _, trial := range trials {
			labels = append(labels, trial.Label)
			if trial.Shown {
				shown = append(shown, trial.Label)
			}
		}
		require.Equal(t, c.want, labels)
		require.Equal(t, c.shown, shown)
	}
}

// TestTrialRecipes: flags reach the recipes that they are about.
func TestTrialRecipes(t *testing.T) {
	args := []string{"-samples", "11", "-reg", "0.5", "-residual", "main", "-aligner", "heads", "-learn", "3"}
	trials, err := chosen(t, args...).Trials()
	require.NoError(t, err)
	for _, trial := range trials {
		r := trial.Recipe
		require.Equal(t, 11, r.Samples, trial.Label)
		if a := r.Alignment(); a != nil {
			require.Equal(t, "all", a.Tokens, trial.Label)
		}
		require.Equal(t, r.Method == recipe.Distil, r.Steps == 4 && r.Batch == 5, trial.Label)
		require.Equal(t, r.Method == recipe.Flow, r.Residual == "main" && r.Aligner == "heads" && r.Reg == 0.5, trial.Label)
		require.Equal(t, r.Method == recipe.Learned, r.Steps == 3 && r.Batch == 5 && r.Inexact, trial.Label)
	}
	require.True(t, trials[len(trials)-1].Mixed && trials[len(trials)-2].Mixed)
	require.Equal(t, recipe.Concatenate, trials[len(trials)-3].Recipe.Method)
	require.Equal(t, recipe.Concatenate, trials[len(trials)-4].Recipe.Method)
	last := trials[len(trials)-6 : len(trials)-4]
	require.True(t, last[0].Labels && !last[0].Mixed && !last[1].Labels && last[1].Mixed)
	require.Zero(t, trials[1].Recipe.Refit)
	require.Equal(t, Ridge, trials[0].Recipe.Refit)
}

// TestBaselines: the mean of the parents as they are, and its refit on all tokens.
func TestBaselines(t *testing.T) {
	for k, trial := range chosen(t, "-samples", "11").Baselines() {
		trial, err := trial.Resolved()
		require.NoError(t, err)
		require.Equal(t, recipe.Vanilla, trial.Recipe.Method)
		require.Equal(t, "all", trial.Recipe.Tokens)
		require.False(t, *trial.Recipe.Narrow)
		require.Equal(t, k == 1, trial.Recipe.UsesSamples())
		require.Equal(t, k == 0, trial.Shown)
	}
}

func TestBadChoice(t *testing.T) {
	for want, args := range map[string][]string{
		`-method is "vanilla", allowed are all, flow, match, learned, concatenate, distil`: {"-method", "vanilla"},
		"-samples is 0, want at least 1":                     {"-samples", "0"},
		"-reg is -1, want more than 0":                       {"-reg", "-1"},
		"-learn is 0, want at least 1":                       {"-learn", "0"},
		`-learn-on is "x", allowed are labels, all, samples`: {"-learn-on", "x"},
		"-learn-batch is 0, want at least 1":                 {"-learn-batch", "0"},
		"-distil is 0, want at least 1":                      {"-distil", "0"},
		"allowed are emd, sinkhorn":                          {"-solver", "magic"},
		"allowed are units, heads":                           {"-aligner", "x"},
		"allowed are main, skip":                             {"-residual", "none"},
	} {
		_, err := chosen(t, args...).Trials()
		require.ErrorContains(t, err, want)
		_, err = Comparison{Choice: chosen(t, args...)}.Experiment()
		require.ErrorContains(t, err, want)
	}
}

// TestUntiedTrials: matching is tried on untied parents first, method by method.
func TestUntiedTrials(t *testing.T) {
	c := chosen(t, "-method", "match")
	c.Untied = true
	c.Method = allMethods
	trials, err := c.Trials()
	require.NoError(t, err)
	var got []string
	for _, trial := range trials {
		if method := trial.Recipe.Method; method != recipe.Match && method != recipe.Learned {
			continue
		}
		require.Equal(t, strings.Contains(trial.Label, "untied"), trial.Untied)
		got = append(got, trial.Label)
	}
	require.Equal(t, []string{
		"matching, untied, activations, refit", "matching, untied, activations", "matching, untied, weights",
		"matching, activations, refit", "matching, activations", "matching, weights",
		"learned matching, untied, labels", "learned matching, untied, no labels",
		"learned matching, labels", "learned matching, no labels"}, got)
}
