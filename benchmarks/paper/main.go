// Command paper runs the experiments of Imfeld et al., "Transformer Fusion with
// Optimal Transport" (ICLR 2024), one table or figure at a time.
//
//	go run ./benchmarks/paper [flags] TABLE...
//
// Parents that are missing are trained and kept. Several processes share the work by
// -item, or as an array job, over a directory that all see: first the parents, with
// -train, then the tables. They find what one process finds.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
)

type options struct {
	scale   scale
	data    string
	text    string
	dir     string
	out     string
	cache   string
	parents []string
	images  string // as it was given
	dry     bool
	train   bool // parents alone
	item    int  // the only one, see [cli.Items]
	names   []string
}

func main() {
	cli.Main(func(ctx context.Context) error {
		o, err := parse(os.Args[1:])
		if err != nil {
			return err
		}
		return run(ctx, o, os.Stdout)
	})
}

// names lists what can be run at a scale.
func names(s scale) []string {
	var out []string
	for _, t := range allTables(s) {
		out = append(out, t.name)
	}
	return out
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("paper", flag.ContinueOnError)
	size := f.String("scale", "tiny", "`preset` of sizes and budgets: tiny, minutes on two cores, or paper, for a GPU")
	f.StringVar(&o.data, "data", "auto", "data `set`: auto, cifar10, cifar100, tinyimagenet, imagefolder or shapes")
	f.StringVar(&o.text, "text", lab.Atlas, "`text` of the tables about BERT: "+strings.Join(lab.CorpusNames(), ", "))
	f.StringVar(&o.dir, "dir", "", "`folder` that data sets are looked for in first")
	f.StringVar(&o.out, "out", "paper-out",
		"`directory` for TABLE.json, plots and README.md, which shows all tables there; what is there already is kept")
	f.StringVar(&o.cache, "cache", "", "`directory` for trained parents and for what is half finetuned (default "+
		"otfuse/parents in the user's cache)")
	parents := f.String("parents", "", "checkpoint `directories` to use instead of a table's own parents, "+
		"comma-separated, the anchor first")
	f.BoolVar(&o.dry, "dry", false, "print the preset and the tables with their recipes as JSON, and do nothing")
	f.BoolVar(&o.train, "train", false, "train the parents that are missing, and make no table: the first stage where "+
		"several\nprocesses share the work, whose items are the parents; those of the second are the tables that are named")
	item := cli.ItemFlag(f)
	images := f.Int("images", -1, "test `images`, 0 for all (default that of the scale)")
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "usage: paper [flags] TABLE...\n\nRuns experiments of the paper. TABLE is all or some of "+
			"%s.\n", strings.Join(names(tiny()), ", "))
		f.PrintDefaults()
	}
	err := cli.Parse(f, args)
	if err != nil {
		return o, err
	}
	o.item = *item
	if o.scale, err = scaleNamed(*size); err != nil {
		return o, err
	}
	if *images >= 0 {
		o.scale.Images, o.images = *images, fmt.Sprint(*images)
	}
	if *parents != "" {
		if o.parents = strings.Split(*parents, ","); len(o.parents) < 2 {
			return o, errors.New("paper: -parents names one directory, want at least two")
		}
	}
	known := names(o.scale)
	o.names = f.Args()
	if slices.Equal(o.names, []string{"all"}) {
		o.names = known
	}
	for _, n := range o.names {
		if !slices.Contains(known, n) {
			return o, fmt.Errorf("paper: there is no table %q; there are %s", n, strings.Join(known, ", "))
		}
	}
	if len(o.names) == 0 {
		return o, fmt.Errorf("paper: no table is named; all, or some of %s", strings.Join(known, ", "))
	}
	return o, nil
}

func run(ctx context.Context, o options, w io.Writer) (err error) {
	if o.dry {
		return printPlan(o, w)
	}
	if o.cache == "" {
		if o.cache, err = os.UserCacheDir(); err != nil {
			return fmt.Errorf("paper: -cache: %w", err)
		}
		o.cache = filepath.Join(o.cache, "otfuse", "parents")
	}
	for flag, dir := range map[string]string{"out": o.out, "cache": o.cache} {
		if err := cli.Writable(dir); err != nil {
			return fmt.Errorf("paper: -%s: %w", flag, err)
		}
	}
	b := &bench{options: o}
	err = b.work(ctx, w)
	if b.device != nil {
		err = errors.Join(err, b.device.Close())
	}
	return err
}

// command is how a table is made on any machine.
func (o options) command(name string) string {
	words := []string{"go run ./benchmarks/paper"}
	flag := func(name, value, usual string) {
		if value != usual {
			words = append(words, "-"+name, value)
		}
	}
	flag("scale", o.scale.Name, "tiny")
	flag("data", o.data, "auto")
	flag("text", o.text, lab.Atlas)
	flag("images", o.images, "")
	flag("parents", strings.Join(o.parents, ","), "")
	return strings.Join(append(words, name), " ")
}

// printPlan prints what a run would do.
func printPlan(o options, w io.Writer) error {
	type planned struct {
		Table   string      `json:"table"`
		Title   string      `json:"title"`
		Parents [][]kind    `json:"parents"`
		Trials  []lab.Trial `json:"trials"`
		Tuned   int         `json:"parents_finetuned,omitempty"`
	}
	out := struct {
		Scale  scale     `json:"scale"`
		Tables []planned `json:"tables"`
	}{Scale: o.scale}
	for _, t := range allTables(o.scale) {
		if !slices.Contains(o.names, t.name) {
			continue
		}
		p := planned{t.name, t.title, t.parents(o.scale), slices.Clone(t.trials), t.tuned}
		for i := range p.Trials {
			var err error
			if p.Trials[i], err = p.Trials[i].Resolved(); err != nil {
				return err
			}
		}
		out.Tables = append(out.Tables, p)
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err
}
