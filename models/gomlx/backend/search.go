package backend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gomlx/compute"
)

// sequentialGo configures the pure Go backend so that it cannot deadlock: in its
// default mode an operation may wait for a worker that waits for that operation.
const sequentialGo = "go:ops_sequential"

// A search looks for the best backend.
type search struct {
	config  string // what $GOMLX_BACKEND holds
	places  places
	rule    rule
	allow   func(context.Context, Download) bool // may be nil
	observe observer
	listing bool // whether to look only: nothing is fetched, nobody asked
}

// places are where a search looks, which tests replace.
type places struct {
	deviceFiles string // pattern of the device files of NVIDIA's GPUs
	driverFile  string // says the version of their driver
	cache       string // keeps what is fetched; empty where the user has no cache
}

// systemPlaces are the places of this system.
func systemPlaces() places {
	p := places{deviceFiles: "/dev/nvidia[0-9]*", driverFile: "/proc/driver/nvidia/version"}
	if cache, err := os.UserCacheDir(); err == nil {
		p.cache = filepath.Join(cache, "otfuse", "xla")
	}
	return p
}

// The kinds of plugin that a request may be restricted to.
const (
	anyPlugin  = ""
	cpuPlugin  = "cpu"
	cudaPlugin = "cuda"
)

// A request is a $GOMLX_BACKEND that was understood.
type request struct {
	exact   string // a configuration to open as it is; empty for a search
	kind    string // of the plugin
	options string // for the plugin, each after a comma
	orGo    bool   // whether the pure Go backend will do
}

// parse reads what $GOMLX_BACKEND holds.
func parse(config string) request {
	switch config {
	case "":
		return request{orGo: true}
	case "go", "go:":
		return request{exact: sequentialGo}
	}
	name, rest, _ := strings.Cut(config, ":")
	kind, options, more := strings.Cut(rest, ",")
	if more {
		options = "," + options
	}
	if name == "xla" && (kind == cpuPlugin || kind == cudaPlugin || rest == anyPlugin) {
		return request{kind: kind, options: options}
	}
	return request{exact: config}
}

// An absentError says that there is nothing to open, which is no fault.
type absentError struct{ error }

func (e absentError) Unwrap() error { return e.error }

// A candidate is a backend that may be opened.
type candidate struct {
	name string
	cuda bool // whether its failure means that a GPU is not used
	open func(context.Context) (compute.Backend, error)
}

// choose opens the first candidate that works and says of each why it was taken
// or not.
func (s *search) choose(ctx context.Context) (compute.Backend, []Candidate, error) {
	r := parse(s.config)
	all := s.candidates(ctx, r)
	var verdicts []Candidate
	var failed, unused []error
	for i, c := range all {
		b, err := c.open(ctx)
		if ctx.Err() != nil {
			if err == nil {
				b.Finalize()
			}
			return nil, verdicts, ctx.Err()
		}
		if err == nil {
			s.tellUnusedGPU(unused)
			return b, append(append(verdicts, Candidate{Name: c.name, Taken: true, Verdict: oneLine(b.Description())}),
				notTried(all[i+1:], c.name)...), nil
		}
		verdicts = append(verdicts, Candidate{Name: c.name, Verdict: oneLine(err.Error())})
		failed = append(failed, fmt.Errorf("%s: %w", c.name, err))
		switch {
		case r.orGo && i == len(all)-2:
			s.observe.notice("NOTICE: XLA: %v; the pure Go backend takes over and is many times slower ($%s chooses another)",
				failed[i], compute.ConfigEnvVar)
		case errors.As(err, new(absentError)) || i == len(all)-1:
		case c.cuda:
			unused = append(unused, failed[i])
		default:
			s.observe.notice("%v", failed[i])
		}
	}
	if r.exact != "" {
		return nil, verdicts, errors.Unwrap(failed[0])
	}
	return nil, verdicts, fmt.Errorf("XLA: %w", errors.Join(failed...))
}

// tellUnusedGPU says in one line why there is a GPU that is not used.
func (s *search) tellUnusedGPU(reasons []error) {
	if len(reasons) > 0 {
		s.observe.notice("NOTICE: the GPU is not used: %v", errors.Join(reasons...))
	}
}

// notTried are the verdicts on candidates after the one that was taken.
func notTried(rest []candidate, taken string) []Candidate {
	var out []Candidate
	for _, c := range rest {
		out = append(out, Candidate{Name: c.name, Verdict: "not tried: " + taken + " comes first"})
	}
	return out
}

// candidates are the backends to try for a request, the best first.
func (s *search) candidates(ctx context.Context, r request) []candidate {
	if r.exact != "" {
		exact := func(context.Context) (compute.Backend, error) { return openConfig(r.exact) }
		return []candidate{{name: r.exact, open: exact}}
	}
	all := s.plugins(ctx, r)
	if r.orGo {
		all = append(all, candidate{name: "GoMLX in pure Go",
			open: func(context.Context) (compute.Backend, error) { return openConfig(sequentialGo) }})
	}
	return all
}

// A rule says whether to fetch plugins.
type rule string

// The rules, as $OTFUSE_FETCH has them.
const (
	fetchDefault rule = ""
	fetchYes     rule = "yes"
	fetchNo      rule = "no"
	fetchAsk     rule = "ask"
)

// fetchRule reads a rule.
func fetchRule(text string) (rule, error) {
	switch r := rule(text); r {
	case fetchDefault, fetchYes, fetchNo, fetchAsk:
		return r, nil
	}
	return "", fmt.Errorf("$%s is %q, want yes, no or ask", FetchVariable, text)
}
