package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"text/tabwriter"
	"time"

	"gonum.org/v1/gonum/stat"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/meter"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/ot"
)

// growth is what an exact assignment of a size takes.
type growth struct {
	N         int     `json:"n"`
	Seconds   float64 `json:"seconds"`
	CostBytes int64   `json:"cost_bytes"`
	PeakBytes int64   `json:"peak_bytes"` // of the solver, with the cost
	Objective float64 `json:"objective"`
	Scan      float64 `json:"scan_seconds"` // of reading the cost once, on all threads
}

// grow solves assignments between Gaussian features with float32 costs.
func grow(ctx context.Context, o options, out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "n\tseconds\tcost MiB\tpeak MiB\tpeak / cost\tscan s\tGB/s\tscans")
	var rows []growth
	for _, n := range o.grow {
		cli.Notice("assignment, n %d", n)
		g, err := growOne(ctx, n)
		if err != nil {
			return fmt.Errorf("ot: n %d: %w", n, err)
		}
		rows = append(rows, g)
		fmt.Fprintf(t, "%d\t%.3f\t%s\t%s\t%.3f\t%.4f\t%.1f\t%.0f\n", g.N, g.Seconds, mebibytes(g.CostBytes),
			mebibytes(g.PeakBytes), float64(g.PeakBytes)/float64(g.CostBytes), g.Scan,
			float64(g.CostBytes)/g.Scan/1e9, g.Seconds/g.Scan)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(rows) > 1 {
		factor, power := fitPower(rows)
		fmt.Fprintf(out, "seconds ≈ %.3g · (n/1000)^%.2f\n", factor, power)
	}
	if o.json != "" {
		return report.WriteJSON(o.json, rows)
	}
	return nil
}

// growOne solves one problem.
func growOne(ctx context.Context, n int) (growth, error) {
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	cost, err := ot.Features{X: gaussian(rng, n), Y: gaussian(rng, n)}.Cost(ctx)
	if err != nil {
		return growth{}, err
	}
	g := growth{N: n, CostBytes: int64(4 * n * n)}
	g.Scan = scan(cost.Data)
	meter.Settle()
	memory := meter.Start()
	started := time.Now()
	plan, err := ot.EMD{}.Solve(ctx, ot.Problem{Cost: cost})
	if err != nil {
		return growth{}, err
	}
	g.Seconds = time.Since(started).Seconds()
	g.PeakBytes = peakBytes(memory.Read()) + g.CostBytes
	for i := range n {
		for j, v := range plan.Row(i) {
			g.Objective += v * cost.At(i, j)
		}
	}
	return g, nil
}

// scan returns the seconds that all threads take to read x once, the least of three times,
// which is the bandwidth of the memory, or of the cache where x fits into it. What is read
// is copied to a buffer that stays in the cache.
func scan(x []float32) float64 {
	least, threads := math.Inf(1), runtime.GOMAXPROCS(0)
	for range 3 {
		started := time.Now()
		var wg sync.WaitGroup
		for k := range threads {
			wg.Go(func() {
				buffer, part := make([]float32, 1<<14), x[len(x)*k/threads:len(x)*(k+1)/threads]
				for len(part) > 0 {
					part = part[copy(buffer, part):]
				}
			})
		}
		wg.Wait()
		least = min(least, time.Since(started).Seconds())
	}
	return least
}

// fitPower fits seconds ≈ factor · (n/1000)^power by least squares of the logarithms.
func fitPower(rows []growth) (factor, power float64) {
	var x, y []float64
	for _, g := range rows {
		x, y = append(x, math.Log(float64(g.N)/1000)), append(y, math.Log(g.Seconds))
	}
	intercept, slope := stat.LinearRegression(x, y, nil, false)
	return math.Exp(intercept), slope
}
