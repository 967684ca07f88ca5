package fuse

import (
	"context"
	"fmt"
	"slices"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/memory"
	"github.com/otfuse/otfuse/models"
)

// momentBytes returns the limit of Settings.MomentBytes, which by default is a quarter of
// the memory that is free.
func momentBytes(s Settings) int64 {
	if s.MomentBytes > 0 {
		return s.MomentBytes
	}
	if free, ok := memory.Free(); ok {
		return free / 4
	}
	return defaultMomentBytes
}

// defaultMomentBytes is the limit where the system does not tell how much memory is free.
const defaultMomentBytes = 4 << 30

// A collector collects the moments of sites group by group, in passes over the samples, so
// that those of a group stay below a limit.
type collector struct {
	calibration    Calibration
	source, anchor *models.Model
	want           align.Request // what is still to be collected
	limit          int64         // bytes of a group, which has at least one site
}

// next collects the moments of the next sites, and the magnitudes with the first.
func (c *collector) next(ctx context.Context) (align.Request, *align.Statistics, error) {
	group := c.want
	group.Sites = c.want.Sites[:c.groupLength()]
	c.want.Sites, c.want.Magnitudes = c.want.Sites[len(group.Sites):], nil
	stats, err := c.calibration.Collect(ctx, c.source, c.anchor, group)
	if err == nil {
		err = checkStatistics(stats, group, c.source)
	}
	return group, stats, err
}

// groupLength returns how many of the sites that are left the next group has.
func (c *collector) groupLength() int {
	var held int64
	for i, site := range c.want.Sites {
		held += c.siteBytes(site)
		if i > 0 && held > c.limit {
			return i
		}
	}
	return len(c.want.Sites)
}

// siteBytes returns the bytes that the moments of a site take.
func (c *collector) siteBytes(site []*graph.Node) int64 {
	var n, m int64
	for _, x := range site {
		n, m = n+int64(c.source.Graph.Nodes[x.ID].Units), m+int64(x.Units)
	}
	values := n*m + 2*(n+m)
	if c.want.Self {
		values += m * m
	}
	return 8 * values
}

// collect finds out which statistics the aligner and the policy need, and collects
// magnitudes.
func (t *transportRun) collect() error {
	needs := t.method.Aligner.Needs()
	_, weighs := t.method.Residual.(graph.Weigher)
	t.moments, t.magnitudes = map[int]*align.Moments{}, map[int][]float64{}
	if !needs.Moments && !weighs {
		return nil
	}
	if t.settings.Calibration == nil {
		return fmt.Errorf("%T with %T: %w", t.method.Aligner, t.method.Residual, ErrNoCalibration)
	}
	t.collector = &collector{t.settings.Calibration, t.source, t.anchor, align.Request{Self: needs.Self},
		t.settings.MomentBytes}
	if needs.Moments {
		t.collector.want.Sites = t.requestedSites()
	}
	if !weighs {
		return nil
	}
	var err error
	if t.collector.want.Magnitudes, err = t.branches(); err != nil {
		return err
	}
	return t.collectNext()
}

// collectFor collects moments until those of a site are there, if it has any.
func (t *transportRun) collectFor(site []*graph.Node) error {
	for t.collector != nil && slices.ContainsFunc(t.collector.want.Sites, func(s []*graph.Node) bool {
		return slices.ContainsFunc(site, func(n *graph.Node) bool { return n.ID == s[0].ID })
	}) {
		if err := t.collectNext(); err != nil {
			return err
		}
	}
	return nil
}

// collectNext collects the moments of the next group of sites.
func (t *transportRun) collectNext() error {
	group, stats, err := t.collector.next(t.ctx)
	if err != nil {
		return err
	}
	for i, s := range group.Sites {
		t.moments[s[0].ID] = stats.Moments[i]
	}
	for _, n := range group.Magnitudes {
		t.magnitudes[n.ID] = stats.Magnitudes[n.ID]
	}
	return nil
}

// requestedSites lists the sites whose moments come from activations.
func (t *transportRun) requestedSites() [][]*graph.Node {
	var out [][]*graph.Node
	for _, n := range t.anchor.Graph.Nodes {
		site := t.sites[n.ID]
		if site == nil || n.Op == graph.Table {
			continue
		}
		if !t.isStacked(t.siteOf(t.source.Graph.Nodes[n.ID])) {
			out = append(out, []*graph.Node{n})
			continue
		}
		group := t.siteOf(t.source.Graph.Nodes[n.ID])
		if group[0].ID == n.ID {
			out = append(out, []*graph.Node{n, t.anchor.Graph.Nodes[group[1].ID]})
		}
	}
	return out
}

// checkStatistics reports what a calibration returned that does not answer the
// request.
func checkStatistics(got *align.Statistics, want align.Request, source *models.Model) error {
	if got == nil || len(got.Moments) != len(want.Sites) {
		return fmt.Errorf("the calibration did not return moments of all %d sites", len(want.Sites))
	}
	for i, site := range want.Sites {
		var n, m int
		for _, x := range site {
			n, m = n+source.Graph.Nodes[x.ID].Units, m+x.Units
		}
		k := got.Moments[i]
		if k == nil || k.Cross == nil || len(k.MeanX) != n || len(k.MeanY) != m {
			return fmt.Errorf("the calibration returned no moments of %d × %d units at %s", n, m, site[0].Name)
		}
		if r, c := k.Cross.Dims(); r != n || c != m || len(k.ScatterX) != n || len(k.ScatterY) != m {
			return fmt.Errorf("the calibration returned moments of %d × %d for %d × %d units at %s", r, c, n, m, site[0].Name)
		}
	}
	for _, n := range want.Magnitudes {
		if k := len(got.Magnitudes[n.ID]); k != n.Units {
			return fmt.Errorf("the calibration returned %d magnitudes for %d units at %s", k, n.Units, n.Name)
		}
	}
	return nil
}
