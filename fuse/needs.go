package fuse

import (
	"fmt"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// Needs is what a fusion takes as far as shapes tell, in bytes: what is reachable at once,
// without what Go's collector has not taken yet and what a device computes with.
type Needs struct {
	Models   int64  // parameters that are held in memory, in all their forms
	Tensors  int64  // the largest tensors, where models are read and written tensor by tensor
	Moments  int64  // of activations, as many as are held at once
	Maps     int64  // maps that wait for their last reader
	Site     int64  // features, costs and plan of the largest site
	SiteName string // the first node of it
	Result   int64  // of the fused model on disk

	// AllMoments are those of all sites together, and Passes the number of times that the
	// samples are passed through the models to keep Moments below their limit.
	AllMoments int64
	Passes     int

	// Products is the number of multiplications that carry every parameter by full maps.
	Products float64
}

// Memory returns the bytes that are held at once.
func (n Needs) Memory() int64 { return n.Models + n.Tensors + n.Moments + n.Maps + n.Site }

// Estimate says what [Into] would need, from shapes alone. Methods of other packages and
// what learners, distillers and refits hold beside the models are not known to it: their
// needs are at least those that it returns.
func Estimate(anchor *models.Model, others []*models.Model, m Method, s *Settings) (Needs, error) {
	set, others, err := prepared(anchor, others, s)
	if err != nil {
		return Needs{}, err
	}
	if m == nil { // the last one needs most
		var methods []Method
		methods, set = choices(anchor, others, set)
		m = methods[len(methods)-1]
	}
	e := estimate{anchor: anchor, others: others, settings: set}
	for name, shape := range anchor.Shapes() {
		e.largest = max(e.largest, int64(valueCount(shape)))
		e.Result += int64(valueCount(shape)) * int64(anchor.DType(name).Size())
	}
	if by, ok := m.(streamer); ok && set.Refit == nil && set.Directory != nil {
		e.streams = by.stream(anchor, others, set) != nil
	}
	e.weighModels(m)
	switch m := m.(type) {
	case Transport:
		err = e.weighTransport(m)
	case Matching:
		e.weighMatching(m)
	case Concatenation:
		err = e.weighConcatenation(m)
	}
	if _, ok := m.(Transport); !ok && !e.streams {
		e.Site *= 2 // two at a time
	}
	if err != nil {
		return Needs{}, fmt.Errorf("fuse: %w", err)
	}
	for _, n := range anchor.Graph.Nodes {
		for _, p := range n.Params {
			for k, axis := range p.Axes {
				if n.Along(axis) != nil && axis != graph.Gain {
					e.Products += float64(valueCount(p.Shape)) * float64(p.Shape[k])
				}
			}
		}
	}
	return e.Needs, nil
}

// An estimate adds up needs.
type estimate struct {
	Needs
	anchor   *models.Model
	others   []*models.Model
	settings Settings
	streams  bool  // from disk to disk
	largest  int64 // values of the largest tensor
}

// float32Bytes and float64Bytes are the sizes of a value.
const (
	float32Bytes = 4
	float64Bytes = 8
)

// tensorCopies is how many times the largest tensor is there when it is read, carried and
// averaged: as it is on disk, as it is read, along an axis and back, and in the mean.
const tensorCopies = 6

// weighModels adds what is held of the parameters of all models.
func (e *estimate) weighModels(m Method) {
	size := int64(e.anchor.Size())
	own := size
	for _, o := range e.others {
		own += int64(o.Size())
	}
	if e.streams {
		e.Tensors = tensorCopies * float32Bytes * e.largest
		if e.settings.Calibration != nil {
			e.Models = float32Bytes * own // on the device
		}
		return
	}
	copies := own + size*int64(len(e.others)) + size // as they were, as they are carried, the mean
	switch m.(type) {
	case Matching, Concatenation:
		copies += own + size // canonical forms, and what is matched with
	}
	e.Models = float32Bytes * copies
}

// weighTransport adds plans and moments.
func (e *estimate) weighTransport(t Transport) error {
	t, err := t.withDefaults(e.settings.Calibration)
	if err != nil {
		return err
	}
	for i, source := range e.others {
		run := &transportRun{method: t, index: i, source: source, anchor: e.anchor,
			sites: pairedSites(source.Graph, t.QK)}
		run.order = run.visitOrder()
		run.lastUse = run.lastUses()
		e.Maps += run.mostPlans()
		for _, n := range run.order {
			if site := run.siteOf(n); site != nil {
				e.takeSite(n, run.siteBytes(site))
			}
		}
		if t.Aligner.Needs().Moments {
			e.addMoments(source, align.Request{Sites: run.requestedSites(), Self: t.Aligner.Needs().Self},
				momentBytes(e.settings)/int64(len(e.others)))
		}
	}
	return nil
}

// takeSite takes a site into account, of which one at a time is solved.
func (e *estimate) takeSite(n *graph.Node, bytes int64) {
	if bytes > e.Site {
		e.Site, e.SiteName = bytes, n.Name
	}
}

// addMoments adds the moments of a source, collected by groups.
func (e *estimate) addMoments(source *models.Model, want align.Request, limit int64) {
	c := collector{source: source, anchor: e.anchor, want: want, limit: limit}
	var most int64
	for ; len(c.want.Sites) > 0; e.Passes++ {
		var group int64
		for _, site := range c.want.Sites[:c.groupLength()] {
			group += c.siteBytes(site)
		}
		c.want.Sites = c.want.Sites[c.groupLength():]
		most, e.AllMoments = max(most, group), e.AllMoments+group
	}
	e.Moments += most
}

// planCopies is how many matrices of a site's units are there when its plan is solved: inner
// products, costs, the kernel, its scratch and the plan.
const planCopies = 5

// siteBytes returns what a site takes while it is solved: the matrices of its plan and, by
// weights, the features of both models.
func (t *transportRun) siteBytes(site []*graph.Node) int64 {
	var n, m, features int64
	for _, x := range site {
		units, others := int64(x.Units), int64(t.anchorNode(x).Units)
		n, m = max(n, units), max(m, others)
		if t.isStacked(site) {
			n, m = units*int64(len(site)), others*int64(len(site))
		}
		for _, p := range x.Params {
			if p.Role == graph.RoleWeight || p.Role == graph.RoleRows {
				inputs := int64(valueCount(p.Shape)) / units
				features = max(features, inputs*(2*float32Bytes*units+float64Bytes*(units+others)))
			}
		}
	}
	bytes := planCopies * float64Bytes * n * m
	if t.method.Aligner.Needs().Moments {
		return bytes
	}
	return bytes + features
}

// mostPlans returns the most bytes that plans take which are still looked at.
func (t *transportRun) mostPlans() int64 {
	root, last := make([]int, len(t.order)), make([]int, len(t.order)) // nodes that share a plan, and its last use
	for _, n := range t.order {
		root[n.ID] = n.ID
		switch {
		case n.Tie != nil:
			root[n.ID] = root[n.Tie.ID]
		case n.Flow() == graph.Carry && n.Units == n.Carrier().Units:
			root[n.ID] = root[n.Carrier().ID]
		}
		last[root[n.ID]] = max(last[root[n.ID]], t.lastUse[n.ID])
	}
	var most, held int64
	ends := make([]int64, len(t.order)+1) // by place: bytes that are let go behind it
	for at, n := range t.order {
		if root[n.ID] == n.ID && n.Flow() != graph.Fix {
			bytes := float64Bytes * int64(n.Units) * int64(t.anchorNode(n).Units)
			held += bytes
			ends[max(last[n.ID], at)] += bytes
		}
		most = max(most, held)
		held -= ends[at]
	}
	return most
}

// mapEntry is the size of an entry of a stored map.
const mapEntry = float64Bytes + 4

// weighMatching adds maps and moments of all spaces.
func (e *estimate) weighMatching(how Matching) {
	for _, source := range e.others {
		spaces, of := source.Graph.Spaces()
		own, _ := e.anchor.Graph.Spaces()
		var want align.Request
		for k, s := range spaces {
			if s.Group == graph.Trivial {
				continue
			}
			n, m := int64(s.Units), int64(own[k].Units)
			entries := min(n, m)
			matrices := int64(4) // the slope, costs, the assignment and what it is read from
			switch {
			case s.Group.Rotates():
				entries, matrices = n*m, 6
			case s.Group.WithinHeads():
				entries = m * n / int64(s.Heads)
			case s.Group == graph.SignedPermutation:
				matrices += 2
			}
			e.Maps += mapEntry * entries
			e.takeSite(s.Nodes[0], matrices*float64Bytes*n*m)
			if how.Mix > 0 {
				e.Maps += float64Bytes * n * m // what activations say of a space
			}
		}
		for _, n := range e.anchor.Graph.Nodes {
			k := of[n.ID]
			if how.Mix > 0 && k >= 0 && spaces[k].Group != graph.Trivial && informative(spaces[k], n) {
				want.Sites = append(want.Sites, []*graph.Node{n})
			}
		}
		e.addMoments(source, want, momentBytes(e.settings))
	}
}

// weighConcatenation adds what it takes to match each of the models, one after the other,
// with a network of its share of the width.
func (e *estimate) weighConcatenation(how Concatenation) error {
	share, whole, err := how.shares(e.anchor, e.settings.Weights)
	if err != nil {
		return err
	}
	e.Models += float32Bytes * int64(share.Size()+whole.Size())
	anchor, others := e.anchor, e.others
	e.anchor = share
	for _, m := range append([]*models.Model{anchor}, others...) {
		e.others = []*models.Model{m}
		e.weighMatching(how.Cut)
	}
	e.anchor, e.others = anchor, others
	return nil
}
