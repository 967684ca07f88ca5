package ot

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// minParallelEntries is the number of matrix entries below which one goroutine is
// faster than several.
const minParallelEntries = 1 << 15

// runBlocks calls f for every block 0 … k-1 and returns the error of ctx. Any goroutine
// may run any block, so each block must write to memory of its own, and for the same
// results everywhere the number of blocks must not depend on GOMAXPROCS.
func runBlocks(ctx context.Context, k, entries int, f func(block int)) error {
	workers := min(k, runtime.GOMAXPROCS(0))
	if workers < 2 || entries < minParallelEntries {
		for b := range k {
			if err := ctx.Err(); err != nil {
				return err
			}
			f(b)
		}
		return nil
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				b := int(next.Add(1)) - 1
				if b >= k || ctx.Err() != nil {
					return
				}
				f(b)
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// blockRange returns the part of 0 … n-1 that is block b of k.
func blockRange(n, k, b int) (lo, hi int) { return n * b / k, n * (b + 1) / k }
