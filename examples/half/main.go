// Command half stores a checkpoint's weights as float16, in half the space:
//
//	go run ./examples/half -out DIR CHECKPOINT
//
// CHECKPOINT is a directory of Hugging Face or an id of its hub. Floats are rounded to the nearest
// float16, ties to even, so the same checkpoint gives the same bytes everywhere;
// a weight too large for float16 is an error. The other files of the directory
// are copied, and torch_dtype of config.json follows.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models/safetensors"
)

func main() {
	cli.Main(func(ctx context.Context) error {
		f := flag.NewFlagSet("half", flag.ContinueOnError)
		out := f.String("out", "", "`directory` to write, which must be new or empty")
		if err := cli.Parse(f, os.Args[1:]); err != nil {
			return err
		}
		if f.NArg() != 1 || *out == "" {
			return fmt.Errorf("half: got -out %q and %d arguments, want -out DIR and one CHECKPOINT", *out, f.NArg())
		}
		dirs, err := cli.Checkpoints(ctx, f.Arg(0))
		if err == nil {
			err = run(dirs[0], *out)
		}
		if err != nil {
			return fmt.Errorf("half: %w", err)
		}
		return nil
	})
}

// run writes the checkpoint of dir into out, with float16 weights.
func run(dir, out string) error {
	tensors, err := halved(dir)
	if err != nil {
		return err
	}
	if entries, err := os.ReadDir(out); err == nil && len(entries) > 0 {
		return fmt.Errorf("-out: %s holds %s: want a new or an empty directory", out, entries[0].Name())
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("-out: %w", err)
	}
	if err := cli.Apart(out, dir); err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	metadata := map[string]string{"format": "pt"} // transformers refuses files without it
	if err := safetensors.WriteFile(filepath.Join(out, safetensors.SingleName), tensors, metadata); err != nil {
		return err
	}
	return copyFiles(dir, out)
}

// halved returns the tensors of a checkpoint, those of floats as float16.
func halved(dir string) (map[string]safetensors.Tensor, error) {
	checkpoint, err := safetensors.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	defer checkpoint.Close() // only read
	tensors := map[string]safetensors.Tensor{}
	for _, name := range checkpoint.Names() {
		tensor, err := checkpoint.Tensor(name)
		if err != nil {
			return nil, err
		}
		if tensors[name], err = toHalf(tensor); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", dir, name, err)
		}
	}
	return tensors, nil
}

// toHalf rounds a tensor of floats to float16 and returns others as they are.
func toHalf(tensor safetensors.Tensor) (safetensors.Tensor, error) {
	switch tensor.DType {
	case safetensors.F64, safetensors.F32, safetensors.BF16:
	default:
		return tensor, nil
	}
	values, err := tensor.Float32s()
	if err != nil {
		return tensor, err
	}
	half, err := safetensors.FromFloat32(safetensors.F16, tensor.Shape, values)
	if err != nil {
		return tensor, err
	}
	rounded, err := half.Float32s()
	if err != nil {
		return tensor, err
	}
	for i, x := range rounded {
		if math.IsInf(float64(x), 0) {
			return tensor, fmt.Errorf("value %d, %g, does not fit float16", i, values[i])
		}
	}
	return half, nil
}

// dtypeKey finds the dtype that a config.json names.
var dtypeKey = regexp.MustCompile(`("(?:torch_)?dtype"\s*:\s*)"[a-z0-9]+"`)

// copyFiles copies the regular files, or those that links lead to, that hold no tensors.
func copyFiles(dir, out string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if holdsTensors(entry.Name()) {
			continue
		}
		path := safetensors.Follow(filepath.Join(dir, entry.Name()))
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if entry.Name() == "config.json" {
			text = dtypeKey.ReplaceAll(bytes.Clone(text), []byte(`${1}"float16"`))
		}
		if err := os.WriteFile(filepath.Join(out, entry.Name()), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// holdsTensors reports whether a file holds weights by its name, in any format, or lists
// those that do.
func holdsTensors(name string) bool {
	formats := []string{".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx", ".ckpt", ".ot"}
	return strings.Contains(name, ".safetensors") || strings.HasSuffix(name, ".index.json") ||
		slices.Contains(formats, filepath.Ext(name))
}
