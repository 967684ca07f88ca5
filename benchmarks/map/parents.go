package main

import (
	"context"
	"path/filepath"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// bench is where the items are made.
type bench struct {
	options
	device *gomlx.Device
	images *lab.Images // nil until asked for
	prose  *lab.Corpus // nil until asked for
}

// classes are the architectures by their names on the axis.
func classes() map[string]string {
	return map[string]string{"vit": models.ViT().Class, "simplevit": models.SimpleViT().Class,
		"bert": models.BERTForMaskedLM().Class, "gpt2": models.GPT2().Class, "llama": models.Llama().Class}
}

// ofImages reports whether an architecture reads images.
func ofImages(arch string) bool { return arch == "vit" || arch == "simplevit" }

// task returns what a parent learns, or, for the zero value of split, what all data are.
func (b *bench) task(ctx context.Context, arch string, split lab.Split) (lab.Task, error) {
	if ofImages(arch) {
		if b.images == nil {
			images, err := lab.OpenImages(ctx, lab.ImageSource{Set: b.data, Most: b.options.images})
			if err != nil {
				return nil, err
			}
			b.images = images
		}
		images := *b.images
		if split.Parts == 0 {
			return &images, nil
		}
		err := images.Restrict(split)
		if arch == "simplevit" { // a norm reads its pixels, which no other scale passes exactly
			images.Norm = b.images.Norm
		}
		return &images, err
	}
	if b.prose == nil {
		prose, err := lab.OpenCorpus(ctx, b.text, "")
		if err != nil {
			return nil, err
		}
		b.prose = &prose
	}
	return &lab.Text{Corpus: *b.prose, Most: b.texts, Part: split}, nil
}

// net is the network of a parent, and how it is trained: as those of the example
// programs, for a shorter time.
func (b *bench) net(p parent) (lab.Net, lab.Schedule) {
	n := lab.Net{Class: classes()[p.Arch], Width: p.Width, Heads: 4, Seed: 10 + 2*uint64(p.Pair) + uint64(p.which)}
	s := lab.Schedule{Epochs: b.epochs, Clip: 1}
	if ofImages(p.Arch) {
		n.Depth, n.Patch = 4, 8
		s.Batch, s.LR, s.WeightDecay = 128, 1e-3, 0.05
		if s.Epochs == 0 {
			s.Epochs = 6
		}
		s.Warmup = s.Epochs / 6
	} else {
		n.Depth, n.Words, n.Length = 2, 512, 64
		s.Batch, s.LR, s.WeightDecay = 8, 3e-3, 0.01
		if p.Arch != "bert" {
			n.Std = 0.05
		}
		switch {
		case s.Epochs > 0:
		case p.Arch == "bert": // learns from the masked words alone
			s.Epochs = 6
		default:
			s.Epochs = 0.5
		}
		s.Warmup = s.Epochs / 20
	}
	s.MinLR = s.LR / 100
	if parts := float64(p.split().Parts); parts > 0 {
		s.Epochs, s.Warmup = parts*s.Epochs, parts*s.Warmup
	}
	return n, s
}

// parent opens a parent, and trains it where it is missing.
func (b *bench) parent(ctx context.Context, p parent) (*models.Model, error) {
	dir := filepath.Join(b.out, "parents", p.String())
	if there, err := exists(filepath.Join(dir, "config.json")); err != nil || there {
		if err != nil {
			return nil, err
		}
		return models.Open(dir)
	}
	task, err := b.task(ctx, p.Arch, p.split())
	if err != nil {
		return nil, err
	}
	net, schedule := b.net(p)
	scratch, err := lab.NewScratch(task, net, schedule)
	if err != nil {
		return nil, err
	}
	scratch.Out = dir
	if err := scratch.Train(ctx, b.device); err != nil {
		return nil, err
	}
	return models.Open(dir)
}

// group opens the parents of a pair in the conventions of the first, and all data as
// they read them.
func (b *bench) group(ctx context.Context, p pair) (lab.Task, []*models.Model, error) {
	var ms []*models.Model
	for which := range 2 {
		m, err := b.parent(ctx, parent{p, which})
		if err == nil && which > 0 {
			m, err = fuse.Translate(m, ms[0])
		}
		if err != nil {
			return nil, nil, err
		}
		ms = append(ms, m)
	}
	task, err := b.task(ctx, p.Arch, lab.Split{})
	if err == nil {
		err = task.Accept(ms)
	}
	return task, ms, err
}
