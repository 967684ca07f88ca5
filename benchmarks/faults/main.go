// Faults kills, starves and crowds the library and counts what breaks.
//
//	go run ./benchmarks/faults [-kills N] [-pairs N] [-seed N]
//	go run ./benchmarks/faults -cancel 10 [-of REGEXP]
//
// It starts itself as a child that does one job on a tiny network, such as saving,
// fusing, training or downloading, again and again, and kills it at a random moment;
// lets two children do the same job at the same time; fills the disk under them; and
// takes away their right to write. After each try it looks at what is there. A try is
// torn if a file can be opened and is neither the old nor the new one, or cannot be
// opened; lost if the old one is gone and the new one is not there; hung if the child
// does not end within a minute; wrong if the child says that all is well and it is
// not, or the other way round. What lies about when a clean run has followed is
// leaked. Everything is computed in pure Go and nothing is fetched: the server of the
// downloads is its own.
//
// With -cancel it does none of this. It cancels what may take long, on large problems and
// on networks of some size, at random moments, and prints how soon each returns: in time
// of the clock, and in time of the processors, which does not depend on what else is
// running.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"regexp"
	"time"

	"github.com/otfuse/otfuse/internal/cli"
)

func main() {
	if job := os.Getenv(jobVariable); job != "" {
		os.Exit(child(job, os.Args[1:]))
	}
	os.Exit(report())
}

// report makes all tries, prints the table and returns the status of the process.
func report() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	p := plan{seed: 1}
	flag.IntVar(&p.kills, "kills", 500, "`kills` in all")
	flag.IntVar(&p.pairs, "pairs", 20, "`pairs` of processes that do the same at the same time")
	flag.Uint64Var(&p.seed, "seed", p.seed, "`seed` of the moments")
	cancels := flag.Int("cancel", 0, "cancel everything that takes long so many `times`, and nothing else")
	of := flag.String("of", "", "regular `expression`: with -cancel, only what it matches")
	flag.Parse()
	if *cancels > 0 {
		return reportLatencies(ctx, *cancels, p.seed, *of)
	}
	started := time.Now()
	rows, err := p.run(ctx, func(r row) { cli.Notice("%s: %d tries", r.what, r.tries) })
	printTable(os.Stdout, rows)
	fmt.Printf("\n%d s\n", int(time.Since(started).Seconds()))
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		return 2
	}
	for _, r := range rows {
		if r.faults() > 0 {
			return 1
		}
	}
	return 0
}

// reportLatencies cancels everything that takes long, prints the table and returns the
// status of the process.
func reportLatencies(ctx context.Context, tries int, seed uint64, of string) int {
	only, err := regexp.Compile(of)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults: -of:", err)
		return 2
	}
	tell := func(l latency) { cli.Notice("%s: %d tries", l.what, len(l.wall)) }
	all, err := canceller{tries, only, rand.New(rand.NewPCG(seed, 1))}.latencies(ctx, tell)
	printLatencies(os.Stdout, all)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		return 2
	}
	return 0
}
