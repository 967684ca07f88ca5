package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// lab is where tables are made.
type lab struct {
	options
	device   *gomlx.Device
	pictures *pictures // nil until asked for
	prose    *prose
}

// named makes a table or figure.
func (l *lab) named(ctx context.Context, name string) (*result, error) {
	started := time.Now()
	s := &study{lab: l, table: tableOf(l.scale, name)}
	s.result = &result{Name: name, Title: s.table.title, Command: l.command(name), Scale: l.scale, Backend: l.device.Name(),
		Machine: thisMachine(), Commit: commit(ctx)}
	if s.table.make == nil {
		s.table.make = (*study).rows
	}
	err := s.open(ctx)
	if err == nil && s.table.profiled { // compilation is part of what is measured
		err = l.device.FreePrograms()
	}
	if err == nil {
		err = s.table.make(s, ctx)
	}
	s.result.Seconds = time.Since(started).Seconds()
	return s.result, err
}

// A study is a table while it is made.
type study struct {
	*lab
	table  table
	field  field
	groups [][]*models.Model // parents, the anchor first; rows are means over groups
	ends   [][]gomlx.Score   // of the parents, by place in a group and by group
	result *result
}

// open opens the parents of -parents, or those of the table, trained where they
// are missing, and readies the samples for them.
func (s *study) open(ctx context.Context) (err error) {
	kinds := s.table.parents(s.scale)
	if s.field, err = s.lab.field(ctx, kinds[0][0]); err != nil {
		return err
	}
	var all []*models.Model
	for _, group := range kinds {
		ms, err := s.group(ctx, group)
		if err != nil {
			return err
		}
		s.groups, all = append(s.groups, ms), append(all, ms...)
		if len(s.parents) > 0 {
			break
		}
	}
	err = s.field.fit(s.scale, all)
	_, s.result.Data = s.field.names()
	s.result.Samples = s.field.tests()
	return err
}

// group opens the parents of -parents, or those of some kinds.
func (s *study) group(ctx context.Context, kinds []kind) (out []*models.Model, err error) {
	for _, dir := range s.parents {
		m, err := models.Open(dir)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	if len(out) > 0 {
		return out, nil
	}
	for _, k := range kinds {
		m, err := s.parent(ctx, k)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// parent opens a parent; one that is never trained is drawn.
func (s *study) parent(ctx context.Context, k kind) (*models.Model, error) {
	if k.Train.Epochs == 0 {
		p, err := s.field.parent(s.scale, k, "")
		if err != nil {
			return nil, err
		}
		m, _, err := p.Start()
		return m, err
	}
	dir, err := s.find(ctx, k)
	if err != nil {
		return nil, err
	}
	return models.Open(dir)
}

// find returns the directory of a parent, which is trained where there is none.
func (s *study) find(ctx context.Context, k kind) (string, error) {
	name, label := s.field.names()
	if k.Shipped != "" {
		dir := filepath.Join(k.Shipped, fmt.Sprintf("%s-seed%d", name, k.Seed))
		if _, err := os.Stat(dir); err == nil {
			return dir, nil
		}
	}
	slug := strings.Join(strings.FieldsFunc(strings.ToLower(label), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }), "-")
	shape := fmt.Sprintf("p%d", k.Patch)
	if k.Words > 0 {
		shape = fmt.Sprintf("w%d-t%d", k.Words, k.Length)
	}
	if k.Class != "" {
		shape = strings.ToLower(k.Class) + "-" + shape
	}
	dir := filepath.Join(s.cache, fmt.Sprintf("%s-%dx%d-h%d-%s-e%g-s%d", slug, k.Width, k.Depth, k.Heads, shape, k.Train.Epochs, k.Seed))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	p, err := s.field.parent(s.scale, k, dir)
	if err != nil {
		return "", err
	}
	m, r, err := p.Start()
	if err != nil {
		return "", err
	}
	t, err := s.device.Trainer(m, r)
	if err != nil {
		return "", err
	}
	defer t.Close()
	return dir, p.Train(ctx, t, s.device)
}

// score scores a model, or an ensemble.
func (s *study) score(ctx context.Context, ms ...*models.Model) (gomlx.Score, error) {
	return s.field.score(ctx, s.device, ms...)
}

// fingerprint tells models apart by their values.
func fingerprint(m *models.Model) uint64 {
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(m.Params)) {
		_ = binary.Write(h, binary.LittleEndian, m.Params[name].Data) // a hash takes all
	}
	return h.Sum64()
}
