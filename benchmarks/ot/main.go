// Command ot runs the solvers of package ot beside those of SciPy, POT, OTT-JAX,
// lapx, lapcpp, laprust, LAP1015, regot and MDOT, in alternation, on the same
// problems.
//
//	go run ./benchmarks/ot [-n 384,768,1536] [-json FILE] [flags]
//	go run ./benchmarks/ot -grow 384,1536,6144,28672
//
// The second form measures how the time and the memory of an exact assignment
// with float32 costs grow. The Python packages are installed into a virtual
// environment in the user's cache on first use.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/report"
)

type options struct {
	sizes   []int
	json    string
	repeat  int
	limit   time.Duration
	parents []string
	peers   []string // none for our own solvers alone
	solvers []solver

	problems []string
	grow     []int
	threads  int
}

func main() {
	cli.Main(func(ctx context.Context) error {
		o, err := parse(os.Args[1:])
		if err != nil {
			return err
		}
		return run(ctx, o, os.Stdout)
	})
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("ot", flag.ContinueOnError)
	sizes := f.String("n", "384,768,1536", "units on each side of the Gaussian problems, comma-separated `sizes`")
	parents := f.String("parents", "examples/vit-cifar/parents/cifar10-seed0,examples/vit-cifar/parents/cifar10-seed1",
		"two checkpoint `directories` whose hidden units make the real problems; empty for none")
	f.StringVar(&o.json, "json", "", "JSON `file` to write the rows to")
	f.IntVar(&o.repeat, "repeat", 5, "`runs` of each solver and peer; medians count")
	f.DurationVar(&o.limit, "limit", 2*time.Minute, "longest `time` of one run of a peer; what takes longer is stopped")
	only := f.String("solvers", labels(solvers()), "which of our `solvers` to run, comma-separated")
	peers := f.String("peers", "all", "`peers` to run beside ours, comma-separated: "+strings.Join(allPeers(), ", ")+
		"; all for all but mdot, which needs PyTorch (that of OTFUSE_PYTHON, or gigabytes are installed); "+
		"none for our own solvers alone")
	problems := f.String("problems", strings.Join(problemNames(), ","), "kinds of `problems`, comma-separated")
	grow := f.String("grow", "", "measure how exact assignment grows over these `sizes` instead, comma-separated")
	f.IntVar(&o.threads, "threads", runtime.GOMAXPROCS(0), "`threads` of ours and of the peers")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: ot [flags]\n\nTimes the solvers of package ot beside those of other packages.")
		f.PrintDefaults()
	}
	if err := cli.Parse(f, args); err != nil {
		return o, err
	}
	var err error
	if o.sizes, err = parseSizes("-n", *sizes); err != nil {
		return o, err
	}
	if *grow != "" {
		if o.grow, err = parseSizes("-grow", *grow); err != nil {
			return o, err
		}
	}
	if o.problems, err = parseNames("-problems", *problems, problemNames()); err != nil {
		return o, err
	}
	switch *peers {
	case "none":
	case "all":
		o.peers = slices.DeleteFunc(allPeers(), func(s string) bool { return s == "mdot" })
	default:
		if o.peers, err = parseNames("-peers", *peers, allPeers()); err != nil {
			return o, err
		}
	}
	for label := range strings.SplitSeq(*only, ",") {
		i := slices.IndexFunc(solvers(), func(s solver) bool { return s.label == label })
		if i < 0 {
			return o, fmt.Errorf("ot: -solvers has %q, allowed are %s", label, labels(solvers()))
		}
		o.solvers = append(o.solvers, solvers()[i])
	}
	if *parents != "" {
		o.parents = strings.Split(*parents, ",")
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("ot: unexpected argument %q", f.Arg(0))
	}
	return o, o.check()
}

// check returns an error for options out of range.
func (o options) check() error {
	switch {
	case o.repeat < 1:
		return fmt.Errorf("ot: -repeat is %d, want at least 1", o.repeat)
	case o.limit <= 0:
		return fmt.Errorf("ot: -limit is %s, want more than 0", o.limit)
	case o.threads < 1:
		return fmt.Errorf("ot: -threads is %d, want at least 1", o.threads)
	case len(o.parents) != 0 && len(o.parents) != 2:
		return fmt.Errorf("ot: -parents names %d directories, want two", len(o.parents))
	}
	return nil
}

// allPeers lists the peers of all solvers.
func allPeers() []string {
	var out []string
	for _, s := range solvers() {
		for _, peer := range s.peers {
			if !slices.Contains(out, peer) {
				out = append(out, peer)
			}
		}
	}
	return out
}

// parseSizes reads numbers of at least 2, separated by commas.
func parseSizes(name, text string) ([]int, error) {
	var out []int
	for s := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 2 {
			return nil, fmt.Errorf("ot: %s has %q, want numbers of at least 2", name, s)
		}
		out = append(out, n)
	}
	return out, nil
}

// parseNames reads some of the allowed names, separated by commas.
func parseNames(name, text string, allowed []string) ([]string, error) {
	var out []string
	for s := range strings.SplitSeq(text, ",") {
		s = strings.TrimSpace(s)
		if !slices.Contains(allowed, s) {
			return nil, fmt.Errorf("ot: %s has %q, allowed are %s", name, s, strings.Join(allowed, ", "))
		}
		out = append(out, s)
	}
	return out, nil
}

// row compares one solver with one peer on one problem. Times are medians. The
// ratio is the median over neighbouring runs of the peer's time over ours, so above
// 1 ours is faster. Peaks are the most memory that a run held, the cost included.
type row struct {
	Problem       string   `json:"problem"`
	N             int      `json:"n"`
	Solver        string   `json:"solver"`
	Peer          string   `json:"peer,omitempty"`
	Seconds       float64  `json:"seconds"`
	PeerSeconds   *float64 `json:"peer_seconds,omitempty"`
	Processor     float64  `json:"processor_seconds"` // of all processors, which other programs disturb less
	PeerProcessor *float64 `json:"peer_processor_seconds,omitempty"`
	Ratio         *float64 `json:"ratio,omitempty"`
	TimedOut      bool     `json:"peer_timed_out,omitempty"` // then peer_seconds and ratio are at least what they say
	Objective     float64  `json:"objective"`
	PeerObjective *float64 `json:"peer_objective,omitempty"`
	MarginalError float64  `json:"marginal_error"` // L1, the larger of both sides
	PeerMarginal  *float64 `json:"peer_marginal_error,omitempty"`
	PeakBytes     int64    `json:"peak_bytes"`
	PeerPeak      *int64   `json:"peer_peak_bytes,omitempty"`
}

func run(ctx context.Context, o options, out io.Writer) (err error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(o.threads))
	if o.grow != nil {
		return grow(ctx, o, out)
	}
	problems, err := allProblems(o)
	if err != nil {
		return err
	}
	var w *worker
	if len(o.peers) > 0 {
		if w, err = startWorker(ctx, o); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.stop()) }()
	}
	rows, err := compareAll(ctx, o, problems, w)
	if len(rows) == 0 {
		return err
	}
	// What was measured before an error or an interrupt is kept.
	if o.json != "" {
		if e := report.WriteJSON(o.json, rows); e != nil {
			err = errors.Join(err, fmt.Errorf("ot: -json: %w", e))
		}
	}
	return errors.Join(err, table(out, rows))
}

// compareAll returns the rows of all problems and solvers, up to the first error.
func compareAll(ctx context.Context, o options, problems []problem, w *worker) ([]row, error) {
	var rows []row
	for _, p := range problems {
		for _, s := range o.solvers {
			got, err := compare(ctx, o, p, s, w)
			rows = append(rows, got...)
			if err != nil {
				return rows, err
			}
		}
	}
	return rows, nil
}

// table prints the rows.
func table(out io.Writer, rows []row) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "problem\tn\tsolver\tpeer\tseconds\tpeer s\tratio\tprocessor s\tpeer's\t"+
		"objective − peer's\tmarginal error\tpeer's\tpeak MiB\tpeer's")
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r.cells(), "\t"))
	}
	return t.Flush()
}

// cells are the columns of a row, empty where there is nothing to compare with.
func (r row) cells() []string {
	var peerSeconds, ratio, peerProcessor, difference, peerMarginal, peerPeak string
	if r.PeerSeconds != nil {
		atLeast := ""
		if r.TimedOut {
			atLeast = "≥ "
		}
		peerSeconds = fmt.Sprintf("%s%.4f", atLeast, *r.PeerSeconds)
		ratio = fmt.Sprintf("%s%.2f", atLeast, *r.Ratio)
	}
	if r.PeerProcessor != nil {
		peerProcessor = fmt.Sprintf("%.4f", *r.PeerProcessor)
		difference = fmt.Sprintf("%+.1e", r.Objective-*r.PeerObjective)
		peerMarginal = fmt.Sprintf("%.1e", *r.PeerMarginal)
		peerPeak = mebibytes(*r.PeerPeak)
	}
	return []string{
		r.Problem, strconv.Itoa(r.N), r.Solver, r.Peer, fmt.Sprintf("%.4f", r.Seconds), peerSeconds, ratio,
		fmt.Sprintf("%.4f", r.Processor), peerProcessor, difference,
		fmt.Sprintf("%.1e", r.MarginalError), peerMarginal, mebibytes(r.PeakBytes), peerPeak,
	}
}

func mebibytes(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/(1<<20)) }
