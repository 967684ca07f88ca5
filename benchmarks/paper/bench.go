package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/parents"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// bench is where tables are made.
type bench struct {
	options
	device *gomlx.Device
	images *lab.Images // nil until asked for
	prose  *lab.Text   // nil until asked for
}

// task opens what networks of a kind are about, once.
func (b *bench) task(ctx context.Context, k kind) (lab.Task, error) {
	if k.Words > 0 {
		if b.prose == nil {
			c, err := lab.OpenCorpus(ctx, b.text, b.dir)
			if err != nil {
				return nil, fmt.Errorf("paper: -text: %w", err)
			}
			b.prose = &lab.Text{Corpus: c, Most: b.scale.Texts}
		}
		return b.prose, nil
	}
	if b.images == nil {
		images, err := lab.OpenImages(ctx, lab.ImageSource{Set: b.data, Dir: b.dir, Most: b.scale.Images})
		if err != nil {
			return nil, err
		}
		b.images = images
	}
	return b.images, nil
}

// tabulate makes a table or figure.
func (b *bench) tabulate(ctx context.Context, name string) (*result, error) {
	started := time.Now()
	s := &study{bench: b, table: tableNamed(b.scale, name)}
	s.result = &result{Name: name, Title: s.table.title, Command: b.command(name), Scale: b.scale,
		Backend: b.device.Name(),
		Machine: thisMachine(), Commit: commit(ctx)}
	if s.table.make == nil {
		s.table.make = (*study).rows
	}
	err := s.open(ctx)
	if err == nil && s.table.profiled { // compilation is part of what is measured
		err = b.device.FreePrograms()
	}
	if err == nil {
		err = s.table.make(s, ctx)
	}
	s.result.Seconds = time.Since(started).Seconds()
	return s.result, err
}

// study is a table while it is made.
type study struct {
	*bench
	table  table
	task   lab.Task
	groups [][]*models.Model // parents, the anchor first; rows are means over groups
	result *result
}

// open opens the parents of -parents, or those of the table, trained where they
// are missing, and readies the samples for them.
func (s *study) open(ctx context.Context) (err error) {
	kinds := s.table.parents(s.scale)
	if s.task, err = s.bench.task(ctx, kinds[0][0]); err != nil {
		return err
	}
	if len(s.parents) > 0 {
		kinds = kinds[:1]
	}
	var all []*models.Model
	for _, group := range kinds {
		ms, err := s.group(ctx, group)
		if err != nil {
			return err
		}
		s.groups, all = append(s.groups, ms), append(all, ms...)
	}
	err = s.task.Accept(all)
	_, s.result.Data = s.task.Names()
	s.result.Samples = s.task.Tests()
	return err
}

// group opens the parents of -parents, or those of some kinds.
func (s *study) group(ctx context.Context, kinds []kind) ([]*models.Model, error) {
	given, err := lab.OpenParents(ctx, strings.Join(s.parents, ","))
	if err != nil || given != nil {
		return given, err
	}
	var out []*models.Model
	for _, k := range kinds {
		m, err := s.parent(ctx, k)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// parent returns a network of a kind: drawn where it is never trained, shipped
// where it is, else from the cache, into which it is trained where it is missing.
func (s *study) parent(ctx context.Context, k kind) (*models.Model, error) {
	if k.Train.Epochs == 0 {
		return s.task.Network(k.Net)
	}
	if k.Shipped != "" {
		name, _ := s.task.Names()
		if m, err := parents.Open(name, int(k.Seed)); !errors.Is(err, parents.ErrNone) {
			return m, err
		}
	}
	return s.trained(ctx, k, s.cached(k))
}

// cached is the directory of a parent that was trained.
func (s *study) cached(k kind) string {
	_, label := s.task.Names()
	isOther := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	slug := strings.Join(strings.FieldsFunc(strings.ToLower(label), isOther), "-")
	shape := fmt.Sprintf("p%d", k.Patch)
	if k.Words > 0 {
		shape = fmt.Sprintf("w%d-t%d", k.Words, k.Length)
	}
	if k.Class != "" {
		shape = strings.ToLower(k.Class) + "-" + shape
	}
	return filepath.Join(s.cache, fmt.Sprintf("%s-%dx%d-h%d-%s-e%g-s%d", slug, k.Width, k.Depth, k.Heads, shape,
		k.Train.Epochs, k.Seed))
}
