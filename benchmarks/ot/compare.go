package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/ot"
)

// A solver is one of ours with the peers that solve the same.
type solver struct {
	label   string // in the rows
	method  ot.Solver
	uniform bool // equal masses
	reg     float64
	peers   []string
}

// tolerance is the marginal error that entropic solvers go down to. POT tests
// the 2-norm, which is never larger than the L1 norm tested by ours and OTT.
const tolerance = 1e-6

func solvers() []solver {
	sinkhorn := func(reg float64) ot.Solver { return ot.Sinkhorn{Reg: reg, Tol: tolerance, MaxIter: 1_000_000} }
	return []solver{
		{"emd", ot.EMD{}, true, 0, []string{"scipy", "pot"}},
		{"emd-nonuniform", ot.EMD{}, false, 0, []string{"pot"}},
		{"sinkhorn-0.08", sinkhorn(0.08), true, 0.08, []string{"pot", "ott"}},
		{"sinkhorn-0.005", sinkhorn(0.005), true, 0.005, []string{"pot-log", "ott"}},
	}
}

func labels(all []solver) string {
	var out []string
	for _, s := range all {
		out = append(out, s.label)
	}
	return strings.Join(out, ",")
}

// outcome is what one run took and found.
type outcome struct {
	Seconds   float64 `json:"seconds"`
	Processor float64 `json:"processor_seconds"` // of all processors together
	Objective float64 `json:"objective"`
	Marginal  float64 `json:"marginal_error"`
	Peak      int64   `json:"peak_bytes"` // beyond what was held before, the cost excluded
	Error     string  `json:"error,omitempty"`
}

// compare runs a solver beside each of its peers.
func compare(ctx context.Context, o options, p problem, s solver, w *worker) ([]row, error) {
	if s.uniform {
		p.a, p.b = equal(len(p.a)), equal(len(p.b))
	}
	peers := s.peers
	if w == nil {
		peers = []string{""}
	}
	var rows []row
	for _, peer := range peers {
		cli.Notice("%s, n %d: %s beside %s", p.name, p.units(), s.label, peer)
		r, err := alternate(ctx, o, pairing{p, s, peer, w})
		if err != nil {
			return nil, fmt.Errorf("ot: %s, n %d, %s beside %q: %w", p.name, p.units(), s.label, peer, err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// pairing is a solver and a peer on a problem.
type pairing struct {
	problem
	solver
	peer   string
	worker *worker
}

// patience is the time of a peer's run beyond which it is run once.
const patience = 10 * time.Second

// alternate runs ours and the peer in turn, each once before it counts.
func alternate(ctx context.Context, o options, c pairing) (row, error) {
	n, m := c.cost.Dims()
	held := int64(8 * n * m)
	r := row{Problem: c.name, N: n, Solver: c.label, Peer: c.peer}
	var ours, theirs []outcome
	var first outcome
	if _, err := solve(ctx, c); err != nil {
		return r, err
	}
	if c.peer != "" {
		if err := c.worker.set(c.problem); err != nil {
			return r, err
		}
		got, err := c.worker.solve(ctx, c, o.limit)
		if errors.Is(err, errLimit) {
			got, r.TimedOut, err = outcome{Seconds: o.limit.Seconds()}, true, nil
		}
		if err != nil {
			return r, err
		}
		if first = got; r.TimedOut || got.Seconds > patience.Seconds() {
			theirs = []outcome{first}
		}
	}
	for range o.repeat {
		got, err := solve(ctx, c)
		if err != nil {
			return r, err
		}
		ours = append(ours, got)
		if c.peer != "" && len(theirs) < len(ours) && !(len(theirs) > 0 && theirs[0] == first) {
			if got, err = c.worker.solve(ctx, c, o.limit); err != nil {
				return r, err
			}
			theirs = append(theirs, got)
		}
	}
	last := ours[len(ours)-1]
	r.Processor = median(each(ours, outcome.processor))
	r.Seconds, r.Objective, r.MarginalError, r.PeakBytes = median(each(ours, outcome.seconds)), last.Objective, last.Marginal, last.Peak+held
	if c.peer == "" {
		return r, nil
	}
	peer := theirs[len(theirs)-1]
	took, ratio := median(each(theirs, outcome.seconds)), ratios(theirs, ours)
	r.PeerSeconds, r.Ratio = &took, &ratio
	if !r.TimedOut {
		work := median(each(theirs, outcome.processor))
		r.PeerProcessor = &work
		peak := peer.Peak + held
		r.PeerObjective, r.PeerMarginal, r.PeerPeak = &peer.Objective, &peer.Marginal, &peak
	}
	return r, nil
}

func (o outcome) seconds() float64   { return o.Seconds }
func (o outcome) processor() float64 { return o.Processor }

func each(runs []outcome, f func(outcome) float64) []float64 {
	var s []float64
	for _, r := range runs {
		s = append(s, f(r))
	}
	return s
}

// ratios is the median of what the peer took over what ours took, run by run.
func ratios(theirs, ours []outcome) float64 {
	var s []float64
	for i, r := range ours {
		s = append(s, theirs[min(i, len(theirs)-1)].Seconds/r.Seconds)
	}
	return median(s)
}

func median(x []float64) float64 {
	slices.Sort(x)
	return (x[len(x)/2] + x[(len(x)-1)/2]) / 2
}

// solve runs our solver once.
func solve(ctx context.Context, c pairing) (outcome, error) {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // forgets the peak so far
	before, worked, started := memory("VmRSS:"), processor(), time.Now()
	plan, err := c.method.Solve(ctx, ot.Problem{Cost: c.cost, A: c.a, B: c.b})
	if err != nil {
		return outcome{}, err
	}
	took := time.Since(started).Seconds()
	worked = processor() - worked
	peak := memory("VmHWM:") - before
	return outcome{Seconds: took, Processor: worked, Objective: plan.Cost(c.cost), Marginal: off(plan.Mass(), c.a, c.b), Peak: peak}, nil
}

// memory reads a line of the process's memory in bytes; 0 where there is none.
func memory(line string) int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(text)) {
		if f := strings.Fields(l); len(f) > 1 && f[0] == line {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			if err == nil {
				return kib * 1024
			}
		}
	}
	return 0
}

// off is the larger L1 error of the two marginals.
func off(p mat.Matrix, a, b []float64) float64 {
	rows, cols := slices.Clone(a), slices.Clone(b)
	for i := range a {
		for j := range b {
			v := p.At(i, j)
			rows[i] -= v
			cols[j] -= v
		}
	}
	var x, y float64
	for _, v := range rows {
		x += math.Abs(v)
	}
	for _, v := range cols {
		y += math.Abs(v)
	}
	return max(x, y)
}

func equal(n int) []float64 { return slices.Repeat([]float64{1 / float64(n)}, n) }
