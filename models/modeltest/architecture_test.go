package modeltest

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/ot"
)

// TestSuiteHasMuchToSay: on every net many axes are mutated, and the logits vary.
// That the laws hold for all nets is tested in package fuse.
func TestSuiteHasMuchToSay(t *testing.T) {
	for _, net := range Nets() {
		net.Config.Layers = 1
		s, err := newSubject(net.Arch, net.ModelConfig())
		require.NoError(t, err)
		require.Greater(t, slices.Max(s.outputs)-slices.Min(s.outputs), 0.1, net.Arch.Class)
		r, err := Relabel(s.model.Graph, 5)
		require.NoError(t, err)
		all := mutations(s.model.Graph, r)
		seen := slices.DeleteFunc(slices.Clone(all), func(u mutation) bool { return u.hidden(s.model.Graph) })
		require.GreaterOrEqual(t, len(seen), 7, net.Arch.Class)
		require.LessOrEqual(t, len(all)-len(seen), net.Config.Layers, "the biases of keys")
	}
}

// against returns what the first law that does not hold says.
func against(t *testing.T, arch models.Architecture, c models.Config) error {
	s, err := newSubject(arch, c)
	if err != nil {
		return err
	}
	return s.against(t)
}

func (s subject) against(t *testing.T) error {
	for _, law := range laws() {
		if err := law.holds(t.Context(), s, t.TempDir()); err != nil {
			return err
		}
	}
	return nil
}

// planted is a small network with a mistake in its graph.
type planted struct {
	Units   int                                                   `json:"units"`
	build   func(b *graph.Builder, image *graph.Node) *graph.Node // the network but for its head
	mistake func(g *graph.Graph)
	inputs  []models.Input
}

// Spec implements [models.Config].
func (c planted) Spec() (models.Spec, error) {
	var b graph.Builder
	image := b.Input("image")
	build := c.build
	if build == nil {
		build = c.blocks
	}
	x := build(&b, image)
	g, err := b.Output(b.Linear("head", b.Select("first", b.Norm("last", x, 1e-6)), 3))
	if err == nil && c.mistake != nil {
		c.mistake(g)
	}
	return models.Spec{Graph: g, Inputs: c.inputs}, err
}

// blocks is a pre-norm transformer of one layer on images of 4×4 pixels.
func (c planted) blocks(b *graph.Builder, image *graph.Node) *graph.Node {
	x := b.Linear("patches", image, c.Units, graph.Conv(1, 2))
	x = b.Add("positioned", b.Prepend("tokens", x, b.Table("token", c.Units, 1)), b.Table("positions", c.Units, 5))
	h := b.Norm("norm1", x, 1e-6)
	x = b.Add("sum1", b.Linear("out", b.Attend("attend", graph.Attention{Heads: 2}, c.part(b, "q", h, 0),
		c.part(b, "k", h, 1),
		c.part(b, "v", h, 2)), c.Units), x)
	h = b.Act("act", b.Linear("up", b.Norm("norm2", x, 1e-6), 12), graph.GELU)
	return b.Add("sum2", b.Linear("down", h, c.Units), x)
}

func (c planted) part(b *graph.Builder, name string, x *graph.Node, i int) *graph.Node {
	return b.Linear(name, x, c.Units, graph.Packed("qkv", i, 3))
}

// small is a network without a mistake.
func small() planted { return planted{Units: 8} }

// class is the architecture of what is planted.
func class(c planted) models.Architecture {
	return models.Architecture{Class: "Planted", Parse: func(text []byte) (models.Config, error) {
		parsed, err := models.Parser(c)(text)
		return parsed, err
	}}
}

func TestSuiteHoldsForAnOwnArchitecture(t *testing.T) { TestArchitecture(t, class(small()), small()) }

// fixed returns a mistake: an axis of a parameter is said to be fixed.
func fixed(node string, param, axis int) func(*graph.Graph) {
	return func(g *graph.Graph) { g.Find(node).Params[param].Axes[axis] = graph.Fixed }
}

// TestWrongAxes: an axis that is wrong is caught, whatever the parameter.
func TestWrongAxes(t *testing.T) {
	for name, mistake := range map[string]func(*graph.Graph){
		"rows of a weight":    fixed("up", 0, 0),
		"columns of a weight": fixed("down", 0, 1),
		"columns of the head": fixed("head", 0, 1),
		"a bias":              fixed("up", 1, 0),
		"a gain":              fixed("norm1", 0, 0),
		"the bias of a norm":  fixed("last", 1, 0),
		"a class token":       fixed("token", 0, 1),
		"positions":           fixed("positions", 0, 1),
		"packed values":       fixed("v", 0, 0),
		"a convolution":       fixed("patches", 0, 0),
	} {
		c := small()
		c.mistake = mistake
		require.ErrorContains(t, against(t, class(c), c), "units in another order move the logits", name)
	}
}

// TestImpossibleAxes: axes that contradict the shape of a parameter are an error,
// not a panic.
func TestImpossibleAxes(t *testing.T) {
	c := small()
	c.mistake = func(g *graph.Graph) { g.Find("up").Params[0].Axes[0] = graph.In }
	require.ErrorContains(t, against(t, class(c), c), "panic: ")
}

// TestGainsThatHide: where gains are 1 and biases 0, a wrong axis of a norm is
// not to be seen, which is why models are drawn at random.
func TestGainsThatHide(t *testing.T) {
	c := small()
	c.mistake = fixed("norm1", 0, 0)
	m, err := models.Fresh(class(c), c, 1, 1)
	require.NoError(t, err)
	b, err := Batch(m, samples, 2)
	require.NoError(t, err)
	moved, err := Relabelled(t.Context(), m, 1)
	require.NoError(t, err)
	require.LessOrEqual(t, Apart(t, Logits(m, b), Logits(moved, b)), exact)
}

// TestWrongPlans: heads of the values that are not moved with those of the
// queries are caught.
func TestWrongPlans(t *testing.T) {
	m, err := Random(class(small()), small(), 1)
	require.NoError(t, err)
	b, err := Batch(m, samples, 2)
	require.NoError(t, err)
	r, err := Relabel(m.Graph, 3)
	require.NoError(t, err)
	swapped, err := ot.PermutationPlan([]int{4, 5, 6, 7, 0, 1, 2, 3})
	require.NoError(t, err)
	kept, err := ot.PermutationPlan([]int{0, 1, 2, 3, 4, 5, 6, 7})
	require.NoError(t, err)
	for values, wrong := range map[*ot.Plan]bool{&swapped: false, &kept: true} {
		r.Plans[r.Of[m.Graph.Find("q").ID]], r.Plans[r.Of[m.Graph.Find("v").ID]] = swapped, *values
		moved, err := r.Apply(t.Context(), m)
		require.NoError(t, err)
		require.Equal(t, wrong, Apart(t, Logits(m, b), Logits(moved, b)) > exact)
	}
}

// TestSecondHead: a node that nothing reads is caught.
func TestSecondHead(t *testing.T) {
	c := small()
	c.build = func(b *graph.Builder, image *graph.Node) *graph.Node {
		x := c.blocks(b, image)
		b.Linear("second", b.Select("again", x), 3)
		return x
	}
	require.ErrorContains(t, against(t, class(c), c), "nothing reads it")
}

// twoHeads is a network with a second head, which reads the second token through a
// layer of its own.
type twoHeads struct{ planted }

// Spec implements [models.Config].
func (c twoHeads) Spec() (models.Spec, error) {
	var b graph.Builder
	x := b.Norm("last", c.blocks(&b, b.Input("image")), 1e-6)
	hidden := b.Act("hidden.act", b.Linear("hidden", b.SelectToken("second", x, 1), 6), graph.Tanh)
	g, err := b.Output(b.Linear("head", b.Select("first", x), 3), b.Linear("second.head", hidden, 2))
	if err == nil && c.mistake != nil {
		c.mistake(g)
	}
	return models.Spec{Graph: g}, err
}

// TestFurtherHeads: the laws hold for further heads, and a wrong axis that only
// they show is caught.
func TestFurtherHeads(t *testing.T) {
	c := twoHeads{small()}
	arch := models.Architecture{Class: "TwoHeads", Parse: models.Parser(c)}
	TestArchitecture(t, arch, c)
	c.mistake = fixed("hidden", 0, 0)
	arch.Parse = models.Parser(c)
	require.ErrorContains(t, against(t, arch, c), "units in another order move the logits")
}

// TestMissingPart: a packed tensor of which a part belongs to nothing is caught.
func TestMissingPart(t *testing.T) {
	c := small()
	c.build = func(b *graph.Builder, image *graph.Node) *graph.Node {
		x := b.Linear("patches", image, 8, graph.Conv(1, 2))
		return b.Attend("attend", graph.Attention{Heads: 2}, c.part(b, "q", x, 0), c.part(b, "k", x, 1), b.Linear("v", x, 8))
	}
	require.ErrorContains(t, against(t, class(c), c), `"qkv.weight": 2 of 3 parts`)
	c.build = func(b *graph.Builder, image *graph.Node) *graph.Node {
		x := b.Linear("patches", image, 8, graph.Conv(1, 2))
		return b.Attend("attend", graph.Attention{Heads: 2}, c.part(b, "q", x, 0), c.part(b, "k", x, 1), c.part(b, "v", x, 1))
	}
	require.ErrorContains(t, against(t, class(c), c), `part 1 belongs to k and to v`)
}

// TestLaxInputs: images of any size and ids beyond their table are caught.
func TestLaxInputs(t *testing.T) {
	c := small()
	c.inputs = []models.Input{{Name: "image", Shape: []int{1, models.Any, models.Any}}}
	c.build = func(b *graph.Builder, image *graph.Node) *graph.Node { // more positions than freeSize asks for
		x := b.Linear("patches", image, 8, graph.Conv(1, 1))
		return b.Add("positioned", x, b.Table("positions", 8, 40))
	}
	require.ErrorContains(t, against(t, class(c), c), "may have any size")
	words := Words()
	arch, net := words.Arch, lax{words.ModelConfig()}
	require.ErrorContains(t, against(t, arch, net), `"input_ids" is below 1000, what reads it takes 0 to 10`)
}

// lax declares ids that its table does not have.
type lax struct{ models.Config }

func (c lax) Spec() (models.Spec, error) {
	s, err := c.Config.Spec()
	s.Inputs = []models.Input{{Name: "input_ids", Shape: []int{models.Any}, Below: 1000}}
	return s, err
}

// TestLaxLibrary: a library that checks neither batches nor parameters is
// caught: labels, ids and sizes out of range, data of short length.
func TestLaxLibrary(t *testing.T) {
	net := MaskedLM()
	s, err := newSubject(net.Arch, net.ModelConfig())
	require.NoError(t, err)
	s.complete = func(_ *models.Model, b models.Batch) (models.Batch, error) { return b, nil }
	s.bind = func(models.Architecture, models.Config, models.Params) (*models.Model, error) { return nil, nil }
	err = errors.Join(inputsLaw(t.Context(), s, ""), parametersLaw(t.Context(), s, ""))
	for _, says := range []string{"labels with a value too large is accepted", "labels with a negative value",
		"input_ids with a value too large",
		"input_ids with shape [3 8]", "attention_mask with shape [3 6]", "token_type_ids with floats",
		`"cls.predictions.bias" with a value too few`,
		`"cls.predictions.bias" with NaN`} {
		require.ErrorContains(t, err, says)
	}
	s, err = newSubject(ViT().Arch, ViT().ModelConfig())
	require.NoError(t, err)
	s.complete = func(_ *models.Model, b models.Batch) (models.Batch, error) {
		b["more"] = models.Array{}
		return b, nil
	}
	require.ErrorContains(t, s.against(t), "the batch of the caller was changed")
}

// stale is a configuration whose epsilon is not written.
type stale struct {
	models.ViTConfig
	Eps float64 `json:"-"`
}

func (c stale) Spec() (models.Spec, error) {
	c.ViTConfig.Eps = c.Eps
	return c.ViTConfig.Spec()
}

// TestStaleConfig: a configuration that is saved as something else is caught.
func TestStaleConfig(t *testing.T) {
	vit := ViT().ModelConfig().(models.ViTConfig)
	arch := models.Architecture{Class: "Stale", Parse: models.Parser(stale{Eps: 1e-12})}
	require.NoError(t, against(t, arch, stale{vit, 1e-12}), "what is left out is as it is read")
	arch.Parse = models.Parser(vit)
	require.ErrorContains(t, against(t, arch, stale{vit, 1e-12}), "is read as models.ViTConfig")
	arch.Parse = func([]byte) (models.Config, error) { return vit, nil }
	other := vit
	other.Eps = 1e-5
	require.ErrorContains(t, against(t, arch, other), `"layer_norm_eps" is written as 0.00001`)
}
