// Command fuse fuses checkpoints of one architecture into one.
//
//	go run ./examples/fuse -out DIR [flags] ANCHOR OTHER...
//
// ANCHOR and OTHER are directories as Hugging Face writes them, config.json and
// safetensors, or ids of its hub, such as google/vit-base-patch16-224 or
// owner/name@revision. The result has the anchor's size and opens in transformers.
//
// Learning and distillation that are interrupted leave their state beside DIR, and the same
// command goes on from it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/safetensors"
	"github.com/otfuse/otfuse/models/text"
)

type options struct {
	out, config, calib, maps, eval, report, html string
	names                                        []string // of the checkpoints, the anchor first
	dirs                                         []string // where they are
	controls, dryRun                             bool
	shardSize, moments                           float64 // GB
	parts                                        string  // directory of a calibration in parts
	part                                         lab.Split
}

func main() {
	cli.Main(func(ctx context.Context) error {
		o, err := parse(os.Args[1:])
		if err != nil {
			return err
		}
		return run(ctx, o)
	})
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("fuse", flag.ContinueOnError)
	f.StringVar(&o.out, "out", "", "`directory` to write the fused checkpoint to (required); may replace an older "+
		"checkpoint")
	f.StringVar(&o.config, "config", "", "JSON `file` that says how to fuse; default: the recipe of the paper")
	f.StringVar(&o.calib, "calib", "", "safetensors `file` of calibration samples: pixel_values [N,C,H,W] or input_ids "+
		"[N,T], labels where max_loss needs them; default: none, weights are aligned")
	f.StringVar(&o.maps, "maps", "", "safetensors `file` to write the push matrix [n,m] of every solved or tied node of "+
		"the first OTHER to")
	f.StringVar(&o.eval, "eval", "", "safetensors `file` of labelled samples: accuracy (0 to 1) and loss (nats) of the "+
		"parents, their ensemble and the fused model")
	f.StringVar(&o.report, "report", "", "JSON `file` to write the results to")
	f.StringVar(&o.html, "html", "", "HTML `file` to show the results in, to look at: scores, maps, the flow graph")
	f.BoolVar(&o.controls, "controls", false, "score beside the fused model what costs as much without fusing: the "+
		"anchor shrunk to its share, a uniform share as far from the anchor, and on the samples of -calib the anchor with "+
		"its output layer refitted, and distilled")
	f.Float64Var(&o.shardSize, "shard-size", safetensors.DefaultShardSize/gigabyte, "most `GB` of tensors in a file of "+
		"the result, a billion bytes each")
	f.Float64Var(&o.moments, "moments", 0, "most `GB` of second moments of activations that are held at once: the fewer, "+
		"the more often samples are passed through the models; default: a quarter of the free memory")
	o.partsFlags(f)
	f.BoolVar(&o.dryRun, "dry-run", false, "say what memory and disk the run takes, from shapes alone, and end")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: fuse -out DIR [flags] ANCHOR OTHER...\n\nFuses checkpoints, directories or ids of "+
			"the Hugging Face hub, into one of the anchor's size. Learning and distillation that are "+
			"interrupted go on where they were when the same command is given again.")
		f.PrintDefaults()
	}
	if err := cli.Parse(f, args); err != nil {
		return o, err
	}
	switch {
	case o.out == "" && o.part.Parts == 0:
		return o, errors.New("fuse: -out DIR is required")
	case !(o.shardSize > 0 && o.shardSize < mostGigabytes):
		return o, fmt.Errorf("fuse: -shard-size is %g GB, want more than 0", o.shardSize)
	case !(o.moments >= 0 && o.moments < mostGigabytes):
		return o, fmt.Errorf("fuse: -moments is %g GB, want at least 0", o.moments)
	case o.controls && o.eval == "":
		return o, errors.New("fuse: -controls needs -eval to score on")
	case f.NArg() < 2:
		return o, fmt.Errorf("fuse: got %d checkpoints, want ANCHOR and at least one OTHER", f.NArg())
	}
	o.names = f.Args()
	return o, o.checkParts()
}

// gigabyte is the unit of sizes on the command line, in bytes.
const gigabyte = 1e9

// mostGigabytes keeps sizes within what 64 bits count.
const mostGigabytes = 1e9

// bytesOf returns a size on the command line in bytes, at least 1.
func bytesOf(size float64) int64 { return max(int64(size*gigabyte), 1) }

// job is what the flags and files amount to.
type job struct {
	options
	recipe recipe.Recipe
	models []*models.Model // linked, the anchor first
	calib  models.Batch    // nil for none
	eval   models.Batch    // nil for none
	device *gomlx.Device   // nil until it is needed
	report report.Report
	fusion *fuse.Report
}

func run(ctx context.Context, o options) error {
	var err error
	if o.dirs, err = cli.Checkpoints(ctx, o.names...); err != nil {
		return err
	}
	j, err := load(o)
	if err != nil {
		return err
	}
	if err := j.checkNeeds(); err != nil || o.dryRun {
		return err
	}
	if j.eval != nil || j.recipe.OnDevice() || j.calib != nil && j.recipe.UsesSamples() ||
		j.models[0].Size() >= largeModel {
		if j.device, err = cli.Open(ctx); err != nil {
			return err
		}
		defer j.device.Close()
		j.report.Backend = j.device.Name()
	}
	if j.part.Parts > 0 {
		return j.collectPart(ctx)
	}
	if err := j.scoreParents(ctx); err != nil {
		return err
	}
	_, maps, err := j.fuse(ctx)
	if err != nil {
		j.noticeStates(ctx)
		return err
	}
	if err := j.write(maps); err != nil {
		return err
	}
	return j.removeStates()
}

// largeModel is the number of parameters from which a device is worth opening for products
// of matrices alone.
const largeModel = 100e6

// load reads everything before anything is computed, so that a mistake is
// found at once.
func load(o options) (*job, error) {
	j := &job{options: o}
	if err := o.checkOutputs(); err != nil {
		return nil, err
	}
	if err := j.link(); err != nil {
		return nil, err
	}
	var err error
	calibrated := recipe.Uncalibrated
	if o.calib != "" {
		calibrated = recipe.Calibrated
		if j.calib, err = j.models[0].ReadSamples(o.calib); err != nil {
			return nil, fmt.Errorf("-calib: %w", err)
		}
	}
	if o.eval != "" {
		if j.eval, err = j.models[0].ReadSamples(o.eval); err != nil {
			return nil, fmt.Errorf("-eval: %w", err)
		}
		if _, ok := j.eval[models.Labels]; !ok {
			return nil, fmt.Errorf("-eval: %s has no labels", o.eval)
		}
	}
	if o.config != "" {
		text, err := os.ReadFile(o.config)
		if err != nil {
			return nil, fmt.Errorf("-config: %w", err)
		}
		if j.recipe, err = recipe.Parse(text); err != nil {
			return nil, fmt.Errorf("-config %s: %w", o.config, err)
		}
	}
	if j.recipe, err = j.recipe.Resolve(calibrated); err != nil {
		return nil, err
	}
	if j.report.Data = o.eval; o.eval == "" {
		j.report.Data = o.calib
	}
	return j, nil
}

// link opens the models and translates the others into the conventions of the anchor.
// Their tensors stay on disk until they are needed.
func (j *job) link() error {
	for _, dir := range j.dirs {
		m, err := models.Link(dir)
		if err != nil {
			return err
		}
		if len(j.models) > 0 {
			if m, err = fuse.Translate(m, j.models[0]); err != nil {
				return fmt.Errorf("%s: %w", dir, err)
			}
		}
		j.models = append(j.models, m)
		if err := sameVocabulary(j.models[0], m); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	return nil
}

// sameVocabulary reports two models that bring tokenizers of different meaning
// along: of the same size they would fuse, and the result would read nonsense.
func sameVocabulary(a, b *models.Model) error {
	if err := text.SameTokenizer(a.Files, b.Files); err != nil {
		return fmt.Errorf("it reads text otherwise than the anchor, they have different vocabularies: %w", err)
	}
	return nil
}

// fuse makes the fused model and, for the first other, its push matrices.
func (j *job) fuse(ctx context.Context) (_ *models.Model, _ map[string]safetensors.Tensor, err error) {
	started := time.Now()
	method, set, calibration, err := j.method(ctx)
	if err != nil {
		return nil, nil, err
	}
	if j.parts != "" {
		parts, failed := j.openParts(set, calibration)
		if failed != nil {
			return nil, nil, failed
		}
		defer func() { err = errors.Join(err, parts.Close()) }()
	}
	fused, rep, err := j.into(ctx, method, set)
	if err != nil {
		return nil, nil, err
	}
	j.fusion = rep
	j.report.AddNodes(rep)
	warn(rep)
	j.tellExtra(fused)
	maps, err := pushes(rep)
	if err != nil {
		return nil, nil, err
	}
	row := report.Row{Method: j.recipe.Method, Options: j.recipe, Seconds: time.Since(started).Seconds()}
	return fused, maps, j.score(ctx, row, fused)
}

// warn tells once which plans did not converge.
func warn(rep *fuse.Report) {
	for i, kept := range rep.Kept() {
		if kept < fuse.LittleKept {
			cli.Notice("warning: carrying left %.1f %% of the squares of other model %d: the fused model is mostly the anchor, "+
				"its weights shrunk", 100*kept, i+1)
		}
	}
	var count int
	var worst float64
	for _, n := range rep.Nodes {
		if n.Warning != nil {
			count++
			worst = max(worst, n.Warning.Residual)
		}
	}
	if count > 0 {
		cli.Notice("warning: %d of %d plans did not converge (marginals off by up to %.1e); they were used as they are",
			count, len(rep.Nodes), worst)
	}
}

// tellExtra says what becomes of tensors of the anchor that its class does not read.
func (j *job) tellExtra(fused *models.Model) {
	anchor := j.models[0]
	if len(anchor.Extra) == 0 {
		return
	}
	fate := "the result has them as they are"
	if len(fused.Extra) == 0 {
		fate = "the result lacks them, because the norms that they may read were folded into other layers"
	}
	cli.Notice("%s holds %d tensors that %s does not read, such as %s; %s",
		j.names[0], len(anchor.Extra), anchor.Arch.Class, slices.Sorted(maps.Keys(anchor.Extra))[0], fate)
}

// pushes are the push matrices of the solved and tied nodes of the first other.
func pushes(rep *fuse.Report) (map[string]safetensors.Tensor, error) {
	out := map[string]safetensors.Tensor{}
	for _, n := range rep.Nodes {
		m := n.Push()
		if n.Source != 0 || m == nil || n.Flow != graph.Solve {
			continue
		}
		r, c := m.Dims()
		data := make([]float32, 0, r*c)
		for i := range r {
			for _, v := range m.RawRowView(i) {
				data = append(data, float32(v))
			}
		}
		t, err := safetensors.FromFloat32(safetensors.F32, []int{r, c}, data)
		if err != nil {
			return nil, err
		}
		out[n.Name] = t
	}
	return out, nil
}

// scoreParents adds the rows of the parents and of their ensemble.
func (j *job) scoreParents(ctx context.Context) error {
	for i, name := range j.names {
		row := report.Row{Method: report.Parent, Label: fmt.Sprintf("parent %d (%s)", i, name)}
		if err := j.score(ctx, row, j.models[i]); err != nil {
			return err
		}
	}
	return j.score(ctx, report.Row{Method: report.Ensemble}, j.models...)
}

// score adds a row, with a score where there is something to score on.
func (j *job) score(ctx context.Context, row report.Row, ms ...*models.Model) error {
	if j.eval != nil {
		s, err := j.device.Evaluate(ctx, j.eval, evalBatch, ms...)
		if err != nil {
			return fmt.Errorf("-eval: %w", err)
		}
		row.Score(s)
	}
	j.report.Add(row)
	return nil
}

// evalBatch is the number of samples scored at a time.
const evalBatch = 250
