package backend

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
)

// openConfig opens a backend and makes it compute. It turns the panics of the
// libraries into errors, and never returns a backend together with an error:
// theirs is a nil pointer inside an interface that is not nil.
func openConfig(config string) (compute.Backend, error) {
	name, _, _ := strings.Cut(config, ":")
	if have := compute.List(); !slices.Contains(have, name) {
		slices.Sort(have)
		return nil, fmt.Errorf("%q: %w, which has %s", config, ErrUnknown, strings.Join(have, ", "))
	}
	var b compute.Backend
	if err := recovered(func() (err error) {
		b, err = compute.NewWithConfig(config)
		return err
	}); err != nil {
		return nil, fmt.Errorf("%q: %w", config, err)
	}
	if err := recovered(func() error { return computeProduct(b) }); err != nil {
		// A panic of Finalize would hide why the backend is of no use.
		_ = recovered(func() error { b.Finalize(); return nil })
		return nil, fmt.Errorf("%q opens but does not compute: %w", config, err)
	}
	return b, nil
}

// computeProduct compiles and runs the sum of the square of a matrix with the rows
// 0, 1, …, 63: a plugin may load and then lack a library or a device that only
// compiling or multiplying needs. All sums are exact, with TF32 too.
func computeProduct(b compute.Backend) error {
	const n, rowSum = 64, 64 * 63 / 2
	out, err := graph.CallOnce(b, func(g *graph.Graph) *graph.Node {
		rows := graph.Iota(g, shapes.Make(dtypes.Float32, n, n), 1)
		return graph.ReduceAllSum(graph.MatMul(rows, rows))
	})
	if err != nil {
		return err
	}
	if got, want := out.Value(), float32(n*rowSum*rowSum); got != want {
		return fmt.Errorf("a sum of products is %v instead of %v", got, want)
	}
	return out.FinalizeAll()
}

// recovered runs f and returns a panic of it as an error.
func recovered(f func() error) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error:
			err = fmt.Errorf("panic: %w", r)
		default:
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return f()
}
