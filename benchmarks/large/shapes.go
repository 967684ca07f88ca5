package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"runtime"
	"sync"
	"text/tabwriter"
	"time"

	"gonum.org/v1/gonum/blas/blas32"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/meter"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/safetensors"
)

// outgrowing are the networks of the table, from small to large.
func outgrowing() []struct {
	name string
	network
} {
	seven, seventy := llama(4096), llama(8192)
	seven.Layers, seven.MLP, seven.Heads, seven.KeyHeads, seven.Vocab = 32, 11008, 32, 32, 32000
	seventy.Layers, seventy.MLP, seventy.Heads, seventy.KeyHeads, seventy.Vocab = 80, 28672, 64, 8, 32000
	return []struct {
		name string
		network
	}{
		{"BERT-base", network{models.BERTForMaskedLM(), bert(768, 12), safetensors.F32}},
		{"ViT-L", network{models.ViT(), vitLarge(), safetensors.F32}},
		{"Llama 1B", networks()["llama-1b"]},
		{"Llama 7B", network{models.Llama(), seven, safetensors.BF16}},
		{"Llama 70B", network{models.Llama(), seventy, safetensors.BF16}},
	}
}

// noData stands for a calibration that is never run.
type noData struct{}

func (noData) Collect(context.Context, *models.Model, *models.Model, align.Request) (*align.Statistics, error) {
	return nil, fuse.ErrNoCalibration
}

// tellShapes prints what the fusion of two networks takes, from shapes alone.
func tellShapes(w io.Writer) error {
	rate := multiplications()
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintln(t, "| network\t| parameters\t| both on disk\t| moments, all\t| transport, from disk to disk\t"+
		"| its largest site\t| matching, from disk to disk\t| its maps\t| multiplications to move all\t| minutes\t|")
	fmt.Fprintln(t, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, n := range outgrowing() {
		m, err := models.Outline(n.arch, n.config, n.dtype)
		if err != nil {
			return err
		}
		others, dir := []*models.Model{m}, &fuse.Directory{}
		all, err := fuse.Estimate(m, others, fuse.Transport{},
			&fuse.Settings{Calibration: noData{}, MomentBytes: math.MaxInt64, Directory: dir})
		if err != nil {
			return err
		}
		moved, err := fuse.Estimate(m, others, fuse.Transport{}, &fuse.Settings{Directory: dir})
		if err != nil {
			return err
		}
		matched, err := fuse.Estimate(m, others, fuse.Matching{}, &fuse.Settings{Directory: dir})
		if err != nil {
			return err
		}
		gb := func(bytes int64) string { return fmt.Sprintf("%.2f GB", float64(bytes)/1e9) }
		fmt.Fprintf(t, "| %s\t| %.2f·10⁹\t| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t| %.1e\t| %.3g\t|\n", n.name,
			float64(m.Size())/1e9, gb(2*moved.Result), gb(all.AllMoments), gb(moved.Memory()), gb(moved.Site),
			gb(matched.Memory()), gb(matched.Maps), moved.Products, moved.Products/rate/60)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nMinutes at %.1f·10⁹ multiplications a second, measured now on %d processors.\n", rate/1e9,
		runtime.GOMAXPROCS(0))
	return nil
}

// multiplications measures how many multiplications a second the inner products of float32
// make by which tensors are carried, where all processors have nothing else to do.
func multiplications() float64 {
	const n, rows = 2048, 48
	var wg sync.WaitGroup
	counts := make([]float64, runtime.GOMAXPROCS(0))
	started, spending := time.Now(), meter.Start()
	for i := range counts {
		wg.Go(func() {
			x, y := make([]float32, n), make([]float32, n*rows)
			for time.Since(started) < time.Second {
				for k := range rows {
					blas32.Dot(blas32.Vector{N: n, Inc: 1, Data: x}, blas32.Vector{N: n, Inc: 1, Data: y[k*n : (k+1)*n]})
				}
				counts[i] += n * rows
			}
		})
	}
	wg.Wait()
	var all float64
	for _, c := range counts {
		all += c
	}
	if spent := spending.Read().CPU; spent != nil && *spent > 0 {
		return all / *spent * float64(len(counts))
	}
	return all / time.Since(started).Seconds()
}
