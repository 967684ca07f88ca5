package main

import (
	"context"
	"fmt"

	"github.com/otfuse/otfuse/internal/language"
	"github.com/otfuse/otfuse/internal/training"
	"github.com/otfuse/otfuse/internal/vision"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// A field is what networks are about: images or text.
type field interface {
	names() (name, label string)
	size() int                                  // training samples
	fit(s scale, parents []*models.Model) error // gets ready for parents
	tests() int                                 // samples that are scored on
	score(ctx context.Context, d *gomlx.Device, ms ...*models.Model) (gomlx.Score, error)
	pick(idx []int) (models.Batch, error)                          // training samples, to align on
	feed(idx []int, batch int, seed uint64) feed                   // to train on; nil means all
	parent(s scale, k kind, out string) (training.Nursling, error) // to be trained
}

// A feed makes the batches of a training.
type feed struct {
	batch    func(step int) (models.Batch, error)
	perEpoch int
}

// field opens what a kind of network is about, once.
func (l *lab) field(ctx context.Context, k kind) (field, error) {
	if k.Words > 0 {
		if l.prose == nil {
			c, err := language.Open(ctx, l.text, l.dir)
			if err != nil {
				return nil, fmt.Errorf("paper: -text: %w", err)
			}
			l.prose = &prose{Corpus: c}
		}
		return l.prose, nil
	}
	if l.pictures == nil {
		images, err := vision.Open(ctx, vision.Source{Set: l.data, Dir: l.dir})
		if err != nil {
			return nil, err
		}
		l.pictures = &pictures{images}
	}
	return l.pictures, nil
}

// pictures are images as a field.
type pictures struct{ vision.Images }

func (p *pictures) names() (name, label string) { return p.Name, p.Label }
func (p *pictures) size() int                   { return p.Images.Train.Len() }
func (p *pictures) tests() int                  { return p.Images.Test.Len() }

func (p *pictures) fit(s scale, parents []*models.Model) error {
	if s.Images > 0 {
		p.Images.Test = vision.Some(p.Images.Test, s.Images)
	}
	return p.Normalise(parents)
}

func (p *pictures) score(ctx context.Context, d *gomlx.Device, ms ...*models.Model) (gomlx.Score, error) {
	return p.Score(ctx, d, ms...)
}

func (p *pictures) pick(idx []int) (models.Batch, error) { return p.Pick(p.Images.Train, idx) }

func (p *pictures) feed(idx []int, batch int, seed uint64) feed {
	f := p.Feed(batch, seed).Among(idx)
	return feed{f.Batch, f.StepsPerEpoch()}
}

func (p *pictures) parent(_ scale, k kind, out string) (training.Nursling, error) {
	return vision.Parent{Images: p.Images, Net: k.Net, Schedule: k.Train, Out: out}, nil
}

// prose is text as a field; its texts are those of the parents.
type prose struct {
	language.Corpus
	texts language.Texts
}

func (p *prose) names() (name, label string) { return p.Name, p.Label }
func (p *prose) size() int                   { return len(p.texts.Train) }
func (p *prose) tests() int                  { return len(p.texts.Test) }

func (p *prose) fit(s scale, parents []*models.Model) error {
	length, err := language.Length(parents)
	if err != nil {
		return err
	}
	if err := p.Lend(parents); err != nil {
		return err
	}
	tok, err := language.Vocabulary(nil, parents)
	if err != nil {
		return err
	}
	p.texts, err = p.Cut(tok, length, s.Texts)
	return err
}

func (p *prose) score(ctx context.Context, d *gomlx.Device, ms ...*models.Model) (gomlx.Score, error) {
	return d.Evaluate(ctx, p.texts.Masked(p.texts.Test, language.TestMask), language.ScoreBatch, ms...)
}

func (p *prose) pick(idx []int) (models.Batch, error) {
	return p.texts.Masked(p.some(idx), language.CalibMask), nil
}

func (p *prose) some(idx []int) [][]int32 {
	if idx == nil {
		return p.texts.Train
	}
	var out [][]int32
	for _, i := range idx {
		out = append(out, p.texts.Train[i])
	}
	return out
}

func (p *prose) feed(idx []int, batch int, seed uint64) feed {
	f := p.texts.Feed(p.some(idx), batch, seed)
	return feed{f.Batch, f.StepsPerEpoch()}
}

func (p *prose) parent(s scale, k kind, out string) (training.Nursling, error) {
	tok, files, err := p.Learned(k.Words)
	if err != nil {
		return nil, err
	}
	texts, err := p.Cut(tok, k.Length, s.Texts)
	return language.Parent{Texts: texts, Files: files, Schedule: k.Train, Out: out,
		Net: language.Net{Width: k.Width, Depth: k.Depth, Heads: k.Heads, Length: k.Length, Seed: k.Seed}}, err
}
