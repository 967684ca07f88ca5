package otfuse_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/ot"
)

// greedy is a solver of our own, for equal widths: it pairs units, the cheapest pair first.
type greedy struct{}

func (greedy) Solve(_ context.Context, p ot.Problem) (ot.Plan, error) {
	var pairs []int // source·n + target
	n, _ := p.Cost.Dims()
	for k := range n * n {
		pairs = append(pairs, k)
	}
	cost := func(k int) float64 { return p.Cost.At(k/n, k%n) }
	slices.SortStableFunc(pairs, func(k, l int) int { return cmp.Compare(cost(k), cost(l)) })
	sources, used := slices.Repeat([]int{-1}, n), make([]bool, n)
	for _, k := range pairs {
		if source, target := k/n, k%n; !used[source] && sources[target] < 0 {
			sources[target], used[source] = source, true
		}
	}
	return ot.PermutationPlan(sources)
}

// images draws a batch of noise in two classes: red or green is brighter.
func images(step int) (models.Batch, error) {
	rng := rand.New(rand.NewPCG(1, uint64(step)))
	x, labels := models.Array{Shape: []int{30, 3, 8, 8}}, models.Array{Shape: []int{30}}
	for image := range 30 {
		labels.Ints = append(labels.Ints, rng.Int32N(2))
		for k := range 3 * 8 * 8 {
			x.Floats = append(x.Floats, float32(rng.NormFloat64()))
			if int32(k/(8*8)) == labels.Ints[image] {
				x.Floats[len(x.Floats)-1]++
			}
		}
	}
	return models.Batch{"pixel_values": x, models.Labels: labels}, nil
}

// finetune trains m, is interrupted, and resumes from its checkpoint.
func finetune(ctx context.Context, trainer *gomlx.Trainer, m *models.Model, checkpoint string) *models.Model {
	options := gomlx.FitOptions{Checkpoint: checkpoint}
	interrupted, interrupt := context.WithCancel(ctx)
	options.Observe = func(p models.Progress) {
		if p.Done == 30 {
			interrupt()
		}
	}
	check(trainer.Reset(m))
	if err := gomlx.Fit(interrupted, trainer, images, options); !errors.Is(err, context.Canceled) {
		panic(err)
	}
	check(trainer.Reset(m)) // as a new process would
	check(gomlx.Fit(ctx, trainer, images, options))
	return must(trainer.Model())
}

// Two checkpoints are opened, fused by each method, also with a solver of our
// own, refitted, finetuned with an interruption, scored and saved.
func Example() {
	ctx, dir := context.Background(), must(os.MkdirTemp("", "otfuse"))
	defer os.RemoveAll(dir)
	config := models.ViTConfig{Hidden: 16, Layers: 1, Heads: 2, MLP: 32, Act: "gelu", Image: 8, Patch: 4, Channels: 3}
	var parents []*models.Model
	for seed, path := range []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")} {
		check(must(models.Fresh(models.ViT(), config, uint64(seed), 0.2)).Save(path)) // in place of training
		parents = append(parents, must(models.Open(path)))
	}
	device := must(gomlx.Open(ctx, nil))
	defer device.Close()
	trainer := must(device.Trainer(parents[0], gomlx.TrainConfig{Steps: 60, LR: 3e-3, Warmup: 5}))
	settings := fuse.Settings{Calibration: device.Calibration(must(images(2000)), nil), Refit: &fuse.Refit{Ridge: 0.01}}
	learner := device.Learner(images)
	learner.Config.Steps = 20
	for i, method := range []fuse.Method{
		fuse.Vanilla{},
		fuse.Transport{},
		fuse.Transport{Aligner: align.Units{Features: align.Activations{}, Metric: ot.Euclidean{}, Solver: greedy{}}},
		fuse.Matching{Mix: 0.3, Solver: greedy{}},
		fuse.Matching{Learner: learner},
	} {
		fused, report, err := fuse.Into(ctx, parents[0], parents[1:], method, &settings)
		check(err)
		path := filepath.Join(dir, fmt.Sprint("fused", i))
		check(finetune(ctx, trainer, fused, path+".safetensors").Save(path))
		score := must(device.Evaluate(ctx, must(images(1000)), 30, must(models.Open(path))))
		fmt.Printf("%-14T %d nodes, accuracy above 90 %%: %t\n", method, len(report.Nodes), score.Accuracy > 0.9)
	}
	// Output:
	// fuse.Vanilla   0 nodes, accuracy above 90 %: true
	// fuse.Transport 22 nodes, accuracy above 90 %: true
	// fuse.Transport 22 nodes, accuracy above 90 %: true
	// fuse.Matching  22 nodes, accuracy above 90 %: true
	// fuse.Matching  22 nodes, accuracy above 90 %: true
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func check(err error) { must(0, err) }
