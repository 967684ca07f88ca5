// Command matching measures ways to fuse pairs of vision transformers over several
// draws of calibration images, and prints means and standard deviations.
//
//	OTFUSE_DATA=DIR go run ./benchmarks/matching [flags] [ANCHOR,OTHER ...]
//
// Without pairs of directories it takes the pair that is shipped for the data set.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"

	"gonum.org/v1/gonum/stat"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

type options struct {
	data    string
	pairs   []string // directories of a pair, comma-separated; empty for the shipped pair
	recipes []string // JSON
	draws   int
	samples int
	images  int
	feed    string // what learning sees
	json    string
}

// The points of a line between two models, and the test images that they are
// scored on.
const (
	linePoints = 11
	lineImages = 2000
)

func main() {
	cli.Main(func(ctx context.Context) error {
		o, err := parse(os.Args[1:])
		if err != nil {
			return err
		}
		trials, err := o.trials()
		if err != nil {
			return err
		}
		return lab.WithDevice(ctx, func(ctx context.Context, d *gomlx.Device) error { return o.run(ctx, d, trials) })
	})
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("matching", flag.ContinueOnError)
	f.StringVar(&o.data, "data", "cifar10", "data `set` of the pairs: cifar10, cifar100, tinyimagenet or shapes")
	f.Func("recipe", "`recipe` in JSON, as examples/fuse reads it; may be repeated (default vanilla fusion, matching on "+
		"weights, and matching on weights and activations)", func(text string) error {
		o.recipes = append(o.recipes, text)
		return nil
	})
	f.IntVar(&o.draws, "draws", 3, "random `draws` of the calibration images")
	f.IntVar(&o.samples, "samples", 200, "calibration `images` of a draw")
	f.IntVar(&o.images, "images", 0, "test `images` to score on (default all)")
	f.StringVar(&o.feed, "learn-on", "samples", "what learning and distillation `see`: samples (the calibration images, "+
		"laid over each other), all (training images without labels) or labels (all with them)")
	f.StringVar(&o.json, "json", "", "JSON `file` to write the results to")
	if err := cli.Parse(f, args); err != nil {
		return o, err
	}
	if o.draws < 1 || o.samples < 1 || o.images < 0 {
		return o, fmt.Errorf("matching: -draws is %d, -samples %d, -images %d, want at least 1", o.draws, o.samples, o.images)
	}
	if !slices.Contains([]string{"samples", "all", "labels"}, o.feed) {
		return o, fmt.Errorf("matching: -learn-on is %q, allowed are samples, all, labels", o.feed)
	}
	if len(o.recipes) == 0 {
		o.recipes = []string{`{"method": "vanilla"}`, `{"method": "match", "features": "weights"}`, `{"method": "match"}`}
	}
	if o.pairs = f.Args(); len(o.pairs) == 0 {
		o.pairs = []string{""}
	}
	return o, nil
}

// trials are the recipes, each under its own text.
func (o options) trials() ([]lab.Trial, error) {
	var out []lab.Trial
	for _, text := range o.recipes {
		r, err := recipe.Parse([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("matching: %w", err)
		}
		r.Samples = o.samples
		t := lab.Trial{Label: text, Recipe: r, Shown: true, Mixed: true, All: o.feed == "all", Labels: o.feed == "labels"}
		if _, err := t.Resolved(); err != nil {
			return nil, fmt.Errorf("matching: %w", err)
		}
		out = append(out, t)
	}
	return out, nil
}

// A row is what came of one recipe on one pair.
type row struct {
	Pair     string    `json:"pair"`
	Recipe   string    `json:"recipe"`
	Accuracy []float64 `json:"accuracy"` // of each draw, 0 to 1
	Loss     []float64 `json:"loss"`     // of each draw, nats
	Barrier  *float64  `json:"barrier,omitempty"`
}

func (o options) run(ctx context.Context, d *gomlx.Device, trials []lab.Trial) error {
	var rows []row
	for _, dirs := range o.pairs {
		images, parents, err := o.open(ctx, dirs)
		if err != nil {
			return err
		}
		e := lab.Experiment{Task: images, Groups: [][]*models.Model{parents}, Trials: trials, Draws: o.draws,
			Line: linePoints, Quick: lineImages, Names: lab.Names{Parents: []string{"anchor", "other"}, Ensemble: "ensemble"}}
		_, err = lab.Run(ctx, d, e, func(out *lab.Outcome) error {
			rows = append(rows, newRow(dirs, out))
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, r := range rows {
		fmt.Println(r)
	}
	if o.json == "" {
		return nil
	}
	return report.WriteJSON(o.json, rows)
}

// open opens a pair and the images that it reads.
func (o options) open(ctx context.Context, dirs string) (*lab.Images, []*models.Model, error) {
	images, err := lab.OpenImages(ctx, lab.ImageSource{Set: o.data, Most: o.images})
	if err != nil {
		return nil, nil, err
	}
	parents, err := lab.OpenParents(ctx, dirs)
	if err == nil && parents == nil {
		parents, err = lab.ShippedParents(images.Name)
	}
	if err == nil {
		err = images.Accept(parents)
	}
	return images, parents, err
}

func newRow(pair string, out *lab.Outcome) row {
	r := row{Pair: pair, Recipe: out.Row.Label}
	if pair == "" {
		r.Pair = "shipped"
	}
	for _, s := range out.Scores {
		r.Accuracy, r.Loss = append(r.Accuracy, s.Accuracy), append(r.Loss, s.Loss)
	}
	if len(out.Barriers) > 0 {
		r.Barrier = &out.Barriers[0].Loss
	}
	return r
}

// String shows means and standard deviations over draws.
func (r row) String() string {
	text := fmt.Sprintf("%s\t%s\t%s %%\t%s nats", r.Pair, r.Recipe, spread(r.Accuracy, 100, 2), spread(r.Loss, 1, 3))
	if r.Barrier != nil {
		text += fmt.Sprintf("\tbarrier %.3f", *r.Barrier)
	}
	return text
}

// spread shows the mean of values and, where there are several, their standard
// deviation.
func spread(values []float64, unit float64, digits int) string {
	mean, deviation := stat.MeanStdDev(values, nil)
	if len(values) == 1 {
		return fmt.Sprintf("%.*f", digits, unit*mean)
	}
	return fmt.Sprintf("%.*f ± %.*f", digits, unit*mean, digits, unit*deviation)
}
