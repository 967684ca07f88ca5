package fuse

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/otfuse/otfuse/models"
)

// Random carries the others by maps that are drawn, not found, from those among which
// [Matching] chooses. It is a control: between equal widths the others compute what they did
// and the mean is noise; out of a wider network it takes units and directions at random, for
// the same [Refit].
type Random struct {
	Seed uint64
}

// Align implements [Method]. The anchor of what it returns is in [Canonical] form.
func (r Random) Align(ctx context.Context, anchor *models.Model, others []*models.Model, s Settings) (*Aligned, error) {
	all, err := loadAll(append([]*models.Model{anchor}, others...))
	if err != nil {
		return nil, err
	}
	u := multiMatcher{settings: s, anchor: canonical(all[0])}
	for i, src := range all[1:] {
		m, err := newMatcher(Matching{}, canonical(src), u.anchor)
		if err == nil {
			err = m.checkWidths()
		}
		if err != nil {
			return nil, fmt.Errorf("model %d: %w", i+1, err)
		}
		m.resetMaps(0)
		rng := rand.New(rand.NewPCG(r.Seed, uint64(i)))
		for _, space := range m.updates() {
			space.randomise(rng)
		}
		u.sources = append(u.sources, m)
	}
	return u.aligned(ctx)
}
