package lab

import (
	"fmt"
	"math"
	"strings"

	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/internal/report"
)

// Story tells in plain words what an experiment found: what fusion is better than, at
// what cost, and what it is not better than. Every statement follows from the rows;
// two accuracies are told apart where they differ by more than two standard errors of
// their difference.
func (c Comparison) Story(e Experiment, found *report.Report) string {
	s := story{rows: found.Rows, tests: c.Task.Tests(), unit: c.Task.Unit(), names: e.Names}
	s.fusion()
	s.distillation()
	if e.Narrow.Network != nil {
		s.compression(e.Narrow, float64(e.Narrow.Network.Size())/float64(c.Parents[0].Size()))
	}
	return strings.Join(s.sentences, " ")
}

// story is a paragraph while it grows.
type story struct {
	rows      []report.Row
	tests     int
	unit      string
	names     Names
	sentences []string
}

func (s *story) say(format string, args ...any) {
	s.sentences = append(s.sentences, fmt.Sprintf(format, args...))
}

// best returns the best of the rows that keep accepts; nil where there is none.
func (s *story) best(keep func(report.Row) bool) *report.Row {
	var out *report.Row
	for i, r := range s.rows {
		if r.Accuracy != nil && keep(r) && (out == nil || *r.Accuracy > *out.Accuracy) {
			out = &s.rows[i]
		}
	}
	return out
}

// labelled returns the row of a label; nil where there is none.
func (s *story) labelled(label string) *report.Row {
	return s.best(func(r report.Row) bool { return r.Label == label })
}

// untrained returns the best row of a method before any training, refits too.
func (s *story) untrained(method string) *report.Row {
	return s.best(func(r report.Row) bool {
		return r.Method == method && r.Finetuned == 0 && !s.isControl(r) && !strings.Contains(r.Label, "refit")
	})
}

// isControl reports whether a row is a uniform share, or a narrow network.
func (s *story) isControl(r report.Row) bool {
	return strings.HasSuffix(r.Label, uniformSuffix) || strings.Contains(r.Label, " wide, ")
}

// compare says how an accuracy stands beside another.
func (s *story) compare(a, b *report.Row) string {
	p := (*a.Accuracy + *b.Accuracy) / 2
	noise := 2 * math.Sqrt(2*p*(1-p)/float64(s.tests))
	switch d := *a.Accuracy - *b.Accuracy; {
	case d > noise:
		return "better than"
	case d < -noise:
		return "worse than"
	}
	return "level with"
}

func percent(r *report.Row) string { return fmt.Sprintf("%.1f %%", 100**r.Accuracy) }

// fusion tells of the models that were aligned and averaged.
func (s *story) fusion() {
	parent := s.untrained(report.Parent)
	if len(s.names.Parents) < 2 || parent == nil {
		return
	}
	var texts []string
	for _, name := range s.names.Parents {
		if r := s.labelled(name); r != nil {
			texts = append(texts, percent(r))
		}
	}
	s.say("The parents find %s of %d test %s.", strings.Join(texts, " and "), s.tests, s.unit)
	vanilla, flow, shrunk := s.untrained(recipe.Vanilla), s.untrained(recipe.Flow), s.untrained(report.Shrunk)
	if vanilla != nil {
		s.say("Averaged as they are, they find %s.", percent(vanilla))
	}
	if flow != nil && shrunk != nil {
		s.say("Transport finds %s, which is %s the anchor alone, shrunk as much, at %s.", percent(flow),
			s.compare(flow, shrunk), percent(shrunk))
	}
	aligned := s.best(func(r report.Row) bool {
		return (r.Method == recipe.Match || r.Method == recipe.Learned) && r.Finetuned == 0 && !s.isControl(r)
	})
	if aligned == nil {
		return
	}
	s.say("The best by exact symmetries, %q, finds %s after %.0f seconds and is %s the best parent.",
		aligned.Label, percent(aligned), aligned.Seconds, s.compare(aligned, parent))
	if u := s.labelled(aligned.Label + uniformSuffix); u != nil {
		s.say("A uniform share that lies as far from the anchor finds %s.", percent(u))
	}
	ensemble := s.labelled(s.names.Ensemble)
	if laid := s.labelled(SideBySide); laid != nil && ensemble != nil {
		s.say("Side by side in one network of their size, each cut to its share of the width and nothing trained, they find "+
			"%s after %.0f seconds, which is %s the best parent and %s their ensemble, two networks, at %s.", percent(laid),
			laid.Seconds, s.compare(laid, parent), s.compare(laid, ensemble), percent(ensemble))
	}
}

// distillation tells of parents that were trained on the answers of all, on the same
// samples.
func (s *story) distillation() {
	control := s.labelled(DistilledAnchor)
	best := s.best(func(r report.Row) bool {
		fused := r.Method == recipe.Match || r.Method == recipe.Learned || r.Method == recipe.Flow ||
			r.Method == recipe.Concatenate || r.Method == recipe.Distil && r.Label != DistilledAnchor
		return fused && r.Finetuned == 0 && !s.isControl(r)
	})
	if control == nil || best == nil {
		return
	}
	if head := s.labelled(HeadAnchor); head != nil {
		s.say("What costs neither alignment nor training: a parent whose output layer was fitted to the answers of all "+
			"finds %s and is %s the best fused model.", percent(head), s.compare(head, best))
	}
	s.say("What costs no alignment: a parent trained on the answers of all on the same %s finds %s after %.0f seconds; "+
		"the best fused model that saw no more, %q, at %s, is %s it.", s.unit, percent(control), control.Seconds,
		best.Label, percent(best), s.compare(best, control))
	parent := s.untrained(report.Parent)
	if s.compare(best, parent) == "better than" {
		s.say("It is better than every parent.")
	} else if s.compare(best, parent) == "worse than" {
		s.say("So two models of the same task and size, fused into one of that size, are not better than the best of them "+
			"here (%s).", percent(parent))
	}
}

// compression tells of narrow networks, which have a share of the size of a parent.
func (s *story) compression(n Narrow, share float64) {
	cut, drawn, random := s.labelled(n.Cut()), s.labelled(n.Drawn()), s.labelled(n.Random())
	parent := s.labelled(s.names.Parents[0])
	if cut == nil || drawn == nil || random == nil || parent == nil {
		return
	}
	s.say("Matching also cuts a network out of a larger one: %d units wide, %.0f %% of the parameters, it finds %s after "+
		"%.0f seconds and without any training, which is %s its parent (%s) and %s what units taken at random find by the "+
		"same refit, %s.", n.Network.Dims().Width, 100*share, percent(cut), cut.Seconds, s.compare(cut, parent),
		percent(parent), s.compare(cut, random), percent(random))
	for _, suffix := range []string{SuffixDistilled, SuffixFinetuned} {
		a, b := s.labelled(n.Cut()+suffix), s.labelled(n.Drawn()+suffix)
		if a == nil || b == nil {
			continue
		}
		s.say("%s for %d updates it finds %s, which is %s a drawn network of that size after the same updates, %s, and %s "+
			"its parent.", map[string]string{SuffixDistilled: "Trained on the parents' answers",
			SuffixFinetuned: "Finetuned on labels"}[suffix], a.Finetuned, percent(a), s.compare(a, b), percent(b),
			s.compare(a, parent))
	}
}

// The suffixes of the labels of rows that were trained, on the answers of others or on
// labels.
const (
	SuffixDistilled = ", distilled"
	SuffixFinetuned = ", finetuned"
)
