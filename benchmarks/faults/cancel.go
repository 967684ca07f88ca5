package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"time"

	"github.com/otfuse/otfuse/internal/meter"
)

// A work is something long that ends with its context.
type work struct {
	what string
	run  func(ctx context.Context) error
}

// A latency says how soon a work ended after its context.
type latency struct {
	what      string
	whole     time.Duration   // of a run that was not cancelled
	wall      []time.Duration // from the cancellation to the return
	processor float64         // seconds of the processors in that time, of the try that took most
	wrong     string          // an error that is not that of the context; "" where there was none
}

// measure runs a work to its end, which also compiles what there is to compile, and then
// cancels it at random moments.
func (c canceller) measure(ctx context.Context, w work) (latency, error) {
	l := latency{what: w.what}
	for range 2 { // the first time compiles
		started := time.Now()
		if err := w.run(ctx); err != nil {
			return l, fmt.Errorf("%s: %w", w.what, err)
		}
		l.whole = time.Since(started)
	}
	for range c.tries {
		if err := w.cancel(ctx, time.Duration(c.moments.Int64N(int64(l.whole)*9/10+1)), &l); err != nil {
			return l, err
		}
	}
	return l, nil
}

// cancel cancels one run after some time. A run that ends before that is no try.
func (w work) cancel(ctx context.Context, after time.Duration, l *latency) error {
	ended, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.run(ended) }()
	select {
	case err := <-done:
		return errors.Join(ctx.Err(), err)
	case <-time.After(after):
	}
	clock, started := meter.Start(), time.Now()
	cancel()
	err := <-done
	if err == nil { // it was through
		return ctx.Err()
	}
	l.wall = append(l.wall, time.Since(started))
	if used := clock.Read().CPU; used != nil {
		l.processor = max(l.processor, *used)
	}
	if !errors.Is(err, context.Canceled) {
		l.wrong = err.Error()
	}
	return ctx.Err()
}

// A canceller cancels what may take long.
type canceller struct {
	tries   int
	only    *regexp.Regexp // of the names of works
	moments *rand.Rand
}

// latencies cancels everything that takes long.
func (c canceller) latencies(ctx context.Context, observe func(latency)) ([]latency, error) {
	p, err := openPair(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = p.device.Close() }() // the process ends
	var out []latency
	for _, w := range slices.Concat(solving(c.moments), p.networks()) {
		if !c.only.MatchString(w.what) {
			continue
		}
		l, err := c.measure(ctx, w)
		if err != nil {
			return out, err
		}
		out = append(out, l)
		observe(l)
	}
	return out, nil
}

// printLatencies prints a table of them.
func printLatencies(w io.Writer, all []latency) {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.0f", 1000*d.Seconds()) }
	fmt.Fprintf(w, "%-44s %9s %5s %10s %10s %12s\n", "cancelled within", "whole, ms", "tries", "median, ms", "most, ms",
		"processor, ms")
	for _, l := range all {
		median, most := "", ""
		if slices.Sort(l.wall); len(l.wall) > 0 {
			median, most = ms(l.wall[len(l.wall)/2]), ms(l.wall[len(l.wall)-1])
		}
		fmt.Fprintf(w, "%-44s %9s %5d %10s %10s %12.0f %s\n", l.what, ms(l.whole), len(l.wall), median, most,
			1000*l.processor, l.wrong)
	}
}
