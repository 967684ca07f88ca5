package fuse

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// Translate returns src with the anchor's conventions about what comes in and what
// goes out, where they differ and the difference can be mended exactly:
//
//   - the classes of id2label are in the order of the anchor: rows of the classifier
//     move with their names;
//   - images are normalised as those of the anchor: the patch projection W x + b of
//     what src was trained on, x = α x' + β for each channel, becomes (α W) x' + b + W β.
//
// Any other difference in meaning is a [*MismatchError]: other classes, another
// problem_type. What one of the two does not say is taken to be as in the other. A
// model that needs no translation is returned as it is. Vocabularies are compared by
// SameTokenizer of package models/text.
//
// [Into] and [Align] translate by themselves. Samples that are prepared for the anchor
// are scored by the translated model.
func Translate(src, anchor *models.Model) (*models.Model, error) {
	out, err := translate(src, anchor)
	if err != nil {
		return nil, fmt.Errorf("fuse: %w", err)
	}
	return out, nil
}

// translate is Translate with an error that does not name the package yet.
func translate(src, anchor *models.Model) (*models.Model, error) {
	out, err := teacherOf(src, anchor)
	if err == nil {
		err = sameHeads(src, anchor)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// teacherOf is translate for a model that is only asked for answers, so that its heads may be
// other ones.
func teacherOf(src, anchor *models.Model) (*models.Model, error) {
	if err := sameStructure(src, anchor); err != nil {
		return nil, err
	}
	if a, b := src.ProblemType(), anchor.ProblemType(); a != b {
		return nil, &MismatchError{"problem_type", a, b}
	}
	out, err := inOrder(src, anchor)
	if err != nil {
		return nil, err
	}
	return normalisedAs(out, anchor)
}

// inOrder returns src with its classes in the order of the anchor.
func inOrder(src, anchor *models.Model) (*models.Model, error) {
	own, want := src.ClassNames(), anchor.ClassNames()
	if own == nil || want == nil || slices.EqualFunc(own, want, sameName) {
		return src, nil
	}
	order := make([]int, len(want))
	taken := map[int]bool{}
	for i, name := range want {
		at := slices.Index(own, name)
		if at < 0 || taken[at] {
			at = slices.IndexFunc(own, func(s string) bool { return sameName(s, name) })
		}
		switch {
		case at < 0:
			return nil, &MismatchError{fmt.Sprintf("class %q", name), "no class of that name", fmt.Sprintf("it as class %d", i)}
		case taken[at]:
			return nil, &MismatchError{fmt.Sprintf("the order of classes, of which two are %q,", name),
				"another order", "its own"}
		}
		order[i], taken[at] = at, true
	}
	moved := models.Params{}
	for _, n := range src.Graph.Nodes {
		if n.Op != graph.Linear || n.Flow() != graph.Fix || n.Units != len(order) {
			continue
		}
		for _, p := range n.Params {
			t, err := src.Tensor(p.Name)
			if err != nil {
				return nil, err
			}
			moved[p.Name] = picked(t, slices.Index(p.Axes, graph.Out), order)
		}
	}
	if len(moved) == 0 {
		return nil, &MismatchError{"the order of classes", strings.Join(own, ", "), strings.Join(want, ", ")}
	}
	return src.Replace(moved).WithClassNames(want)
}

// sameName reports whether two names of classes are the same but for case and space
// around them.
func sameName(a, b string) bool { return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b)) }

// picked returns t with the given entries along an axis, in that order.
func picked(t models.Tensor, axis int, order []int) models.Tensor {
	inner := 1
	for _, d := range t.Shape[axis+1:] {
		inner *= d
	}
	out := t
	out.Data = make([]float32, 0, len(t.Data))
	block := inner * t.Shape[axis]
	for outer := 0; outer < len(t.Data); outer += block {
		for _, k := range order {
			out.Data = append(out.Data, t.Data[outer+k*inner:outer+(k+1)*inner]...)
		}
	}
	return out
}

// normalisedAs returns src as it reads images that are normalised as the anchor's.
func normalisedAs(src, anchor *models.Model) (*models.Model, error) {
	own, err := pixelScaleOf(src.Files)
	if err != nil || own == nil {
		return src, err
	}
	want, err := pixelScaleOf(anchor.Files)
	if err != nil {
		return nil, fmt.Errorf("the anchor: %w", err)
	}
	if want == nil || own.equal(*want) {
		return src, nil
	}
	refuse := &MismatchError{"the normalisation of images", own.String(), want.String()}
	replaced := models.Params{}
	for _, n := range src.Graph.Nodes {
		if !slices.ContainsFunc(n.Args, func(a *graph.Node) bool { return a.Op == graph.Input }) {
			continue
		}
		weight, isLinear := n.Param(graph.RoleWeight)
		bias, hasBias := n.Param(graph.RoleBias)
		if n.Op != graph.Linear || !isLinear || !hasBias || len(weight.Shape) != 4 {
			return nil, refuse
		}
		w, err := src.Tensor(weight.Name)
		if err != nil {
			return nil, err
		}
		b, err := src.Tensor(bias.Name)
		if err != nil {
			return nil, err
		}
		if !own.covers(weight.Shape[1]) || !want.covers(weight.Shape[1]) {
			return nil, refuse
		}
		replaced[weight.Name], replaced[bias.Name] = folded(w, b, *own, *want)
	}
	out := src.Replace(replaced)
	out.Files = maps.Clone(src.Files)
	out.Files[processorFile] = anchor.Files[processorFile]
	return out, nil
}

// folded returns kernel and bias of a convolution that reads pixels as want scales
// them and computes what w [units, channels, side, side] and b [units] compute of
// pixels as own scales them.
func folded(w, b models.Tensor, own, want pixelScale) (kernel, bias models.Tensor) {
	kernel, bias = w, b
	kernel.Data, bias.Data = slices.Clone(w.Data), slices.Clone(b.Data)
	channels, area := w.Shape[1], w.Shape[2]*w.Shape[3]
	for unit := range w.Shape[0] {
		shift := float64(b.Data[unit])
		for c := range channels {
			factor, offset := own.from(want, c)
			at := (unit*channels + c) * area
			for i, v := range w.Data[at : at+area] {
				kernel.Data[at+i] = float32(factor * float64(v))
				shift += offset * float64(v)
			}
		}
		bias.Data[unit] = float32(shift)
	}
	return kernel, bias
}
