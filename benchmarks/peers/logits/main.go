// Command logits writes what a checkpoint computes on a file of samples, for
// other implementations to compare with.
//
//	go run ./benchmarks/peers/logits -out logits.safetensors DIR SAMPLES
//
// DIR is a checkpoint directory of Hugging Face, SAMPLES a safetensors file with
// pixel_values [N, C, H, W], or input_ids [N, T] and, where they are not all one
// and zero, attention_mask and token_type_ids. The result holds logits [N,
// classes], or [N, T, word pieces] of a masked language model.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/safetensors"
)

// batch is the number of samples computed at a time.
const batch = 50

func main() {
	cli.Main(func(ctx context.Context) error {
		f := flag.NewFlagSet("logits", flag.ContinueOnError)
		out := f.String("out", "logits.safetensors", "safetensors `file` to write the logits to")
		f.Usage = func() {
			fmt.Fprintln(f.Output(), "usage: logits [-out FILE] DIR SAMPLES\n\nWrites the logits of a checkpoint on the inputs "+
				"in a safetensors file.")
			f.PrintDefaults()
		}
		err := f.Parse(os.Args[1:])
		switch {
		case errors.Is(err, flag.ErrHelp):
			return nil
		case err != nil:
			return err
		case f.NArg() != 2:
			return fmt.Errorf("logits: got %d arguments, want DIR and SAMPLES", f.NArg())
		}
		return run(ctx, f.Arg(0), f.Arg(1), *out)
	})
}

func run(ctx context.Context, dir, file, out string) error {
	m, err := models.Open(dir)
	if err != nil {
		return err
	}
	data, err := m.ReadSamples(file)
	if err != nil {
		return err
	}
	if data.Len() == 0 {
		return fmt.Errorf("%s: there are no samples", file)
	}
	device, err := cli.Open(ctx)
	if err != nil {
		return err
	}
	defer device.Close()
	var all []float32
	var shape []int
	n, size := data.Len(), min(batch, data.Len())
	for from := 0; from < n; from += size {
		to := min(from+size, n)
		y, err := device.Logits(ctx, m, data.Slice(from, to).Pad(size))
		if err != nil {
			return err
		}
		all, shape = append(all, y.Floats[:len(y.Floats)/size*(to-from)]...), y.Shape
	}
	shape[0] = n
	t, err := safetensors.FromFloat32(safetensors.F32, shape, all)
	if err != nil {
		return err
	}
	return safetensors.WriteFile(out, map[string]safetensors.Tensor{"logits": t}, nil)
}
