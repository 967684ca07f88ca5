package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/gonum/floats"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/meter"
	"github.com/otfuse/otfuse/ot"
)

// solver is one of ours with the peers that solve the same problem.
type solver struct {
	label   string // name in the rows
	method  ot.Solver
	uniform bool     // all masses are equal
	reg     float64  // ε in units of the cost, 0 for exact solvers
	peers   []string // names that worker.py knows
	form    form
}

// form is how the problem is handed to a solver and to its peers.
type form int

const (
	plain  form = iota
	single      // costs of float32
	warm        // with the dual potentials of a problem whose costs differ by up to 1 %
)

// assignmentPeers solve square problems with equal masses.
func assignmentPeers() []string {
	return []string{"scipy", "pot", "lapx-lapjvr", "lapx-lapjvh", "lapx-lapjvsa", "lapcpp", "laprust", "lap1015"}
}

// tolerance is the marginal error at which entropic solvers stop. POT tests the
// 2-norm, which is never larger than the L1 norm that ours and OTT test.
const tolerance = 1e-6

func solvers() []solver {
	sinkhorn := func(reg float64) ot.Solver { return ot.Sinkhorn{Reg: reg, Tol: tolerance, MaxIter: 1_000_000} }
	return []solver{
		{"emd", ot.EMD{}, true, 0, assignmentPeers(), plain},
		{"emd-float32", ot.EMD{}, true, 0, []string{"lapx-lapjvr", "lapx-lapjvh", "lapcpp", "laprust", "lap1015"}, single},
		{"emd-warm", ot.EMD{}, true, 0, []string{"pot-warm"}, warm},
		{"emd-nonuniform", ot.EMD{}, false, 0, []string{"pot"}, plain},
		{"sinkhorn-0.08", sinkhorn(0.08), true, 0.08, []string{"pot", "ott"}, plain},
		{"sinkhorn-0.005", sinkhorn(0.005), true, 0.005, []string{"pot-log", "ott", "regot", "mdot"}, plain},
	}
}

// solves reports whether a peer solves the problem, of those that are asked for.
func (o options) solves(peer string, p problem, s solver) bool {
	square := p.units() == len(p.b)
	if s.reg == 0 && !square && peer != "pot" && peer != "pot-warm" {
		return false // an assignment leaves units of the longer side out, which is another problem
	}
	return slices.Contains(o.peers, peer)
}

func labels(all []solver) string {
	var out []string
	for _, s := range all {
		out = append(out, s.label)
	}
	return strings.Join(out, ",")
}

// outcome is what one run took and what it found; worker.py writes the same keys.
type outcome struct {
	Seconds   float64 `json:"seconds"`
	Processor float64 `json:"processor_seconds"` // of all processors together
	Objective float64 `json:"objective"`
	Marginal  float64 `json:"marginal_error"`
	Peak      int64   `json:"peak_bytes"` // resident memory beyond that before the run, without the cost
	Error     string  `json:"error,omitempty"`
}

// compare runs a solver beside each of its peers.
func compare(ctx context.Context, o options, p problem, s solver, w *worker) ([]row, error) {
	if s.uniform {
		p.a, p.b = uniform(len(p.a)), uniform(len(p.b))
	}
	peers := slices.DeleteFunc(slices.Clone(s.peers), func(peer string) bool { return !o.solves(peer, p, s) })
	if w == nil {
		peers = []string{""}
	}
	if err := p.prepare(ctx, &s); err != nil {
		return nil, err
	}
	var rows []row
	for _, peer := range peers {
		cli.Notice("%s, n %d: %s beside %s", p.name, p.units(), s.label, peer)
		r, err := alternate(ctx, o, pairing{p, s, peer, w})
		if err != nil {
			return rows, fmt.Errorf("ot: %s, n %d, %s beside %q: %w", p.name, p.units(), s.label, peer, err)
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

// longRun is the time of a peer's run beyond which it is run only once.
const longRun = 10 * time.Second

// alternate runs ours and the peer in turn, so that both meet the same state of the
// machine. The first run of each, which warms caches up and compiles, does not count
// unless it was a long one.
func alternate(ctx context.Context, o options, c pairing) (row, error) {
	r := row{Problem: c.name, N: c.units(), Solver: c.label, Peer: c.peer}
	if _, err := solve(ctx, c); err != nil {
		return r, err
	}
	var ours, theirs []outcome
	repeatPeer := false
	if c.peer != "" {
		first, err := c.first(ctx, o.limit)
		if errors.Is(err, errLimit) {
			first, r.TimedOut, err = outcome{Seconds: o.limit.Seconds()}, true, nil
		}
		if err != nil {
			return r, err
		}
		if repeatPeer = !r.TimedOut && first.Seconds <= longRun.Seconds(); !repeatPeer {
			theirs = []outcome{first}
		}
	}
	for range o.repeat {
		got, err := solve(ctx, c)
		if err != nil {
			return r, err
		}
		ours = append(ours, got)
		if !repeatPeer {
			continue
		}
		got, err = c.worker.solve(ctx, c, o.limit)
		switch {
		case errors.Is(err, errLimit):
			theirs, r.TimedOut, repeatPeer = []outcome{{Seconds: o.limit.Seconds()}}, true, false
		case err != nil:
			return r, err
		default:
			theirs = append(theirs, got)
		}
	}
	r.fill(c, ours, theirs)
	return r, nil
}

// first hands the problem to the peer and runs it once.
func (c pairing) first(ctx context.Context, limit time.Duration) (outcome, error) {
	if err := c.worker.set(c.problem); err != nil {
		return outcome{}, err
	}
	return c.worker.solve(ctx, c, limit)
}

// fill summarises the runs: medians of times, and the rest of the last run.
func (r *row) fill(c pairing, ours, theirs []outcome) {
	n, m := c.cost.Dims()
	costBytes := int64(8 * n * m)
	if c.form == single {
		costBytes /= 2
	}
	last := ours[len(ours)-1]
	r.Seconds = median(values(ours, outcome.seconds))
	r.Processor = median(values(ours, outcome.processor))
	r.Objective, r.MarginalError, r.PeakBytes = last.Objective, last.Marginal, last.Peak+costBytes
	if len(theirs) == 0 {
		return
	}
	seconds, ratio := median(values(theirs, outcome.seconds)), medianRatio(theirs, ours)
	r.PeerSeconds, r.Ratio = &seconds, &ratio
	if r.TimedOut {
		return
	}
	peer := theirs[len(theirs)-1]
	processor, peak := median(values(theirs, outcome.processor)), peer.Peak+costBytes
	r.PeerProcessor, r.PeerPeak = &processor, &peak
	r.PeerObjective, r.PeerMarginal = &peer.Objective, &peer.Marginal
}

func (o outcome) seconds() float64   { return o.Seconds }
func (o outcome) processor() float64 { return o.Processor }

// values returns one number of every run.
func values(runs []outcome, of func(outcome) float64) []float64 {
	var out []float64
	for _, r := range runs {
		out = append(out, of(r))
	}
	return out
}

// medianRatio is the median of the peer's seconds over ours, run by run, so that
// what slows the machine down for a while slows both sides of a ratio. A peer that
// was run once is compared with all of our runs.
func medianRatio(theirs, ours []outcome) float64 {
	var out []float64
	for i, r := range ours {
		out = append(out, theirs[min(i, len(theirs)-1)].Seconds/r.Seconds)
	}
	return median(out)
}

func median(x []float64) float64 {
	slices.Sort(x)
	return (x[len(x)/2] + x[(len(x)-1)/2]) / 2
}

// solve runs our solver once. The clock is read closer to the solver than by the
// meter, whose own reading of the process counts in runs of milliseconds.
func solve(ctx context.Context, c pairing) (outcome, error) {
	meter.Settle()
	memory := meter.Start()
	worked, started := processor(), time.Now()
	plan, err := c.method.Solve(ctx, ot.Problem{Cost: c.given, A: c.a, B: c.b})
	if err != nil {
		return outcome{}, err
	}
	seconds := time.Since(started).Seconds()
	worked = processor() - worked
	return outcome{
		Seconds: seconds, Processor: worked, Peak: peakBytes(memory.Read()),
		Objective: plan.Cost(c.cost), Marginal: marginalError(plan, c.a, c.b),
	}, nil
}

// peakBytes is the resident memory beyond that at the start, 0 where the system
// does not tell.
func peakBytes(u meter.Usage) int64 {
	if u.PeakMiB == nil || u.HeldMiB == nil {
		return 0
	}
	return int64((*u.PeakMiB - *u.HeldMiB) * (1 << 20))
}

// marginalError is the larger L1 error of the two marginals.
func marginalError(p ot.Plan, a, b []float64) float64 {
	rows, columns := slices.Clone(a), slices.Clone(b)
	for i := range a {
		for j, v := range p.Row(i) {
			rows[i] -= v
			columns[j] -= v
		}
	}
	return max(floats.Norm(rows, 1), floats.Norm(columns, 1))
}

func uniform(n int) []float64 { return slices.Repeat([]float64{1 / float64(n)}, n) }
