package models

import "github.com/otfuse/otfuse/graph"

// DeiT is DeiTForImageClassification of Hugging Face: a [ViT] with a distillation
// token beside the class token, classified by the class token alone (Touvron et al.,
// ICML 2021). Its configuration is a [DeiTConfig].
func DeiT() Architecture {
	return Architecture{
		Class:   "DeiTForImageClassification",
		Type:    "deit",
		Parse:   Parser(DeiTConfig{vitDefaults()}),
		Prefix:  "deit.",
		Renamed: vitModules(),
		Ignored: []string{"mask_token"},
	}
}

// DeiTWithTeacher is DeiTForImageClassificationWithTeacher of Hugging Face: the
// class token and the distillation token have a classifier each. Its logits are
// the mean of both, and each is an output of its own. Its configuration is a
// [DeiTTeacherConfig].
func DeiTWithTeacher() Architecture {
	return Architecture{
		Class:   "DeiTForImageClassificationWithTeacher",
		Type:    "deit",
		Parse:   Parser(DeiTTeacherConfig{vitDefaults()}),
		Prefix:  "deit.",
		Renamed: vitModules(),
		Ignored: []string{"mask_token"},
	}
}

// A DeiTConfig configures a [DeiT]. Its network reads what that of [ViTConfig] reads.
type DeiTConfig struct{ ViTConfig }

// A DeiTTeacherConfig configures a [DeiTWithTeacher]. Its network reads what that of
// [ViTConfig] reads.
type DeiTTeacherConfig struct{ ViTConfig }

// Spec implements [Config].
func (c DeiTConfig) Spec() (Spec, error) {
	if err := c.check(); err != nil {
		return Spec{}, err
	}
	var b graph.Builder
	x := c.deit(&b)
	g, err := b.Output(b.Linear("classifier", b.Select("cls", x), classes(c.Labels)))
	return Spec{g, []Input{pixels(c.Channels, c.Image)}, c.layout(2)}, err
}

// Spec implements [Config].
func (c DeiTTeacherConfig) Spec() (Spec, error) {
	if err := c.check(); err != nil {
		return Spec{}, err
	}
	var b graph.Builder
	x := c.deit(&b)
	class := b.Linear("cls_classifier", b.Select("cls", x), classes(c.Labels))
	distilled := b.Linear("distillation_classifier", b.SelectToken("distillation", x, 1), classes(c.Labels))
	logits := b.Mean("logits", b.Prepend("classifiers", distilled, class))
	g, err := b.Output(logits, class, distilled)
	return Spec{g, []Input{pixels(c.Channels, c.Image)}, c.layout(2)}, err
}

// deit declares the encoder. Its first token is the class, its second the distillation.
func (c ViTConfig) deit(b *graph.Builder) *graph.Node {
	return c.encoder(b, "deit.", "distillation_token")
}
