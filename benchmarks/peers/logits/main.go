// Command logits writes what a checkpoint computes on a file of images, for
// other implementations to compare with.
//
//	go run ./benchmarks/peers/logits -out logits.safetensors DIR IMAGES
//
// DIR is a checkpoint directory of Hugging Face, IMAGES a safetensors file with
// pixel_values [N, C, H, W]. The result holds logits [N, classes].
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/mlx"
	"github.com/otfuse/otfuse/models/safetensors"
)

// batch is the number of images computed at a time.
const batch = 50

func main() {
	cli.Main(func(ctx context.Context) error {
		f := flag.NewFlagSet("logits", flag.ContinueOnError)
		out := f.String("out", "logits.safetensors", "safetensors `file` to write logits [N, classes] to")
		f.Usage = func() {
			fmt.Fprintln(f.Output(), "usage: logits [-out FILE] DIR IMAGES\n\nWrites the logits of a checkpoint on pixel_values of a safetensors file.")
			f.PrintDefaults()
		}
		err := f.Parse(os.Args[1:])
		switch {
		case errors.Is(err, flag.ErrHelp):
			return nil
		case err != nil:
			return err
		case f.NArg() != 2:
			return fmt.Errorf("logits: got %d arguments, want DIR and IMAGES", f.NArg())
		}
		return run(ctx, f.Arg(0), f.Arg(1), *out)
	})
}

func run(ctx context.Context, dir, images, out string) error {
	m, err := models.Open(dir)
	if err != nil {
		return err
	}
	data, err := read(images, m)
	if err != nil {
		return err
	}
	b, err := mlx.Open(ctx, func(line string) { cli.Notice("%s", line) })
	if err != nil {
		return err
	}
	defer b.Finalize()
	r := mlx.NewRunner(b)
	defer r.Close()
	var all []float32
	n, size := data.Len(), min(batch, data.Len())
	for from := 0; from < n; from += size {
		to := min(from+size, n)
		y, err := r.Logits(ctx, m, data.Slice(from, to).Pad(size))
		if err != nil {
			return err
		}
		all = append(all, y.Floats[:len(y.Floats)/size*(to-from)]...)
	}
	t, err := safetensors.FromFloat32(safetensors.F32, []int{n, len(all) / n}, all)
	if err != nil {
		return err
	}
	return safetensors.WriteFile(out, map[string]safetensors.Tensor{"logits": t}, nil)
}

// read reads the images for m.
func read(path string, m *models.Model) (b models.Batch, err error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	t, err := f.Tensor("pixel_values")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	a := models.Array{Shape: t.Shape}
	if a.Floats, err = t.Float32s(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	b = models.Batch{"pixel_values": a}
	if err := m.Arch.Complete(m.Config, b); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if b.Len() == 0 {
		return nil, fmt.Errorf("%s: there are no images", path)
	}
	return b, nil
}
