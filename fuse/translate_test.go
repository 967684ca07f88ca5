package fuse_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// relabelled returns m with its classes in another order and the rows of its
// classifier along with them: the same network by the names of its classes.
func relabelled(t *testing.T, m *models.Model, order ...int) *models.Model {
	own := m.ClassNames()
	names := make([]string, len(order))
	moved := models.Params{}
	for _, name := range []string{"classifier.weight", "classifier.bias"} {
		p := m.Params[name]
		row := len(p.Data) / len(order)
		data := make([]float32, 0, len(p.Data))
		for i, k := range order {
			names[i] = own[k]
			data = append(data, p.Data[k*row:(k+1)*row]...)
		}
		p.Data = data
		moved[name] = p
	}
	out, err := m.Replace(moved).WithClassNames(names)
	require.NoError(t, err)
	return out
}

// TestClassesInAnotherOrder: rows go by the names of classes, in memory and on disk.
func TestClassesInAnotherOrder(t *testing.T) {
	for _, net := range []modeltest.Net{modeltest.ViT(), modeltest.Classifier()} {
		a, b := model(t, net, 1), model(t, net, 2)
		want, _, err := fuse.Into(t.Context(), a, []*models.Model{b}, fuse.Vanilla{}, nil)
		require.NoError(t, err)
		other := relabelled(t, b, 2, 0, 1)
		require.NotEqual(t, b.Params["classifier.weight"].Data, other.Params["classifier.weight"].Data)
		dir := filepath.Join(t.TempDir(), "other")
		require.NoError(t, other.Save(dir))
		linked, err := models.Link(dir)
		require.NoError(t, err)
		for _, source := range []*models.Model{other, linked} {
			require.NoError(t, fuse.Check(source, a))
			got, _, err := fuse.Into(t.Context(), a, []*models.Model{source}, fuse.Vanilla{}, nil)
			require.NoError(t, err)
			sameBits(t, want.Params, got.Params)
			once, err := fuse.Translate(source, a)
			require.NoError(t, err)
			require.Equal(t, a.ClassNames(), once.ClassNames())
			twice, err := fuse.Translate(once, a)
			require.NoError(t, err)
			require.Same(t, once, twice, "what is translated stays")
		}
		upper, err := other.WithClassNames([]string{" C", "A", "B "})
		require.NoError(t, err)
		got, _, err := fuse.Into(t.Context(), a, []*models.Model{upper}, fuse.Vanilla{}, nil)
		require.NoError(t, err)
		sameBits(t, want.Params, got.Params)
	}
}

// TestOtherClasses: classes that one of the two does not have are named.
func TestOtherClasses(t *testing.T) {
	a, b := model(t, modeltest.ViT(), 1), model(t, modeltest.ViT(), 2)
	for _, names := range [][]string{{"a", "b", "horse"}, {"a", "c", "c"}} {
		other, err := b.WithClassNames(names)
		require.NoError(t, err)
		err = fuse.Check(other, a)
		var mismatch *fuse.MismatchError
		require.ErrorAs(t, err, &mismatch)
		require.Contains(t, mismatch.What, "class")
	}
	unnamed, err := b.WithClassNames([]string{"LABEL_0", "LABEL_1", "LABEL_2"})
	require.NoError(t, err)
	require.Nil(t, unnamed.ClassNames(), "names that say nothing")
	require.NoError(t, fuse.Check(unnamed, a))
}

// TestImagesNormalisedDifferently: the translated model computes of images that are
// normalised as the anchor's what the source computes of its own.
func TestImagesNormalisedDifferently(t *testing.T) {
	net := modeltest.ViT()
	a, b := model(t, net, 1), model(t, net, 2)
	a.Files = map[string][]byte{"preprocessor_config.json": []byte(
		`{"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4], "rescale_factor": 0.00392156862745098}`)}
	raw := net.Batch(3, 4)
	normalised := func(factor float64, mean, std [3]float64) models.Batch {
		p := raw["pixel_values"]
		out := models.Array{Shape: p.Shape, Floats: slices.Clone(p.Floats)}
		area := p.Shape[2] * p.Shape[3]
		for i, v := range p.Floats {
			c := i / area % 3
			out.Floats[i] = float32((float64(v)*255*factor - mean[c]) / std[c]) // v is a pixel by 255
		}
		return models.Batch{"pixel_values": out}
	}
	mine := normalised(1./255, [3]float64{0.4, 0.5, 0.6}, [3]float64{0.2, 0.3, 0.4})
	half := [3]float64{0.5, 0.5, 0.5}
	for text, own := range map[string]models.Batch{
		`{"image_mean": [0.41, 0.48, 0.63], "image_std": [0.25, 0.24, 0.26]}`: normalised(1./255,
			[3]float64{0.41, 0.48, 0.63}, [3]float64{0.25, 0.24, 0.26}),
		`{"image_processor_type": "ViTImageProcessor", "image_mean": null}`: normalised(1./255, half, half),
		`{"do_normalize": false, "image_mean": null, "image_std": null}`: normalised(1./255, [3]float64{},
			[3]float64{1, 1, 1}),
		`{"rescale_factor": 0.5, "image_mean": 0.5, "image_std": [0.5, 0.5, 0.5]}`: normalised(0.5, half, half),
		`{"feature_extractor_type": "DeiTFeatureExtractor"}`: normalised(1./255, [3]float64{0.485, 0.456, 0.406},
			[3]float64{0.229, 0.224, 0.225}),
	} {
		source := *b
		source.Files = map[string][]byte{"preprocessor_config.json": []byte(text)}
		got, err := fuse.Translate(&source, a)
		require.NoError(t, err)
		want := modeltest.Logits(b, own)
		require.LessOrEqual(t, modeltest.Apart(t, want, modeltest.Logits(got, mine)), 1e-4, text)
		require.Greater(t, modeltest.Apart(t, want, modeltest.Logits(b, mine)), 1e-3, text)
		twice, err := fuse.Translate(got, a)
		require.NoError(t, err)
		require.Same(t, got, twice)
	}
	same := *b
	same.Files = map[string][]byte{"preprocessor_config.json": []byte(
		"{\"size\": 224,\r\n\"image_std\": [0.2, 0.3, 0.4], \"image_mean\": [0.4, 0.5, 0.6]}")}
	got, err := fuse.Translate(&same, a)
	require.NoError(t, err)
	require.Same(t, &same, got)
}

// TestNormalisationsRefused: a norm before the patch projection does not let it through.
func TestNormalisationsRefused(t *testing.T) {
	a, b := model(t, modeltest.SimpleViT(), 1), model(t, modeltest.SimpleViT(), 2)
	a.Files = map[string][]byte{"preprocessor_config.json": []byte(`{"image_mean": [0.4], "image_std": [0.2]}`)}
	for text, says := range map[string]string{
		`{"image_mean": [0.5], "image_std": [0.2]}`:  "normalisation of images",
		`{"image_std": [0]}`:                         "want positive",
		`{"image_mean": "x"}`:                        "image_mean",
		"version https://git-lfs.github.com/spec/v1": "Git LFS pointer",
	} {
		b.Files = map[string][]byte{"preprocessor_config.json": []byte(text)}
		require.ErrorContains(t, fuse.Check(b, a), says)
	}
}

// TestMeaningOfConfigurations: keys that no tensor shows are compared.
func TestMeaningOfConfigurations(t *testing.T) {
	a := model(t, modeltest.Classifier(), 1)
	for says, change := range map[string]func(n *modeltest.Net){
		"layer_norm_eps":      func(n *modeltest.Net) { n.Config.Eps = 1e-3 },
		"num_attention_heads": func(n *modeltest.Net) { n.Config.Heads = 4 },
	} {
		net := modeltest.Classifier()
		change(&net)
		err := fuse.Check(model(t, net, 2), a)
		var mismatch *fuse.MismatchError
		require.ErrorAs(t, err, &mismatch)
		require.Contains(t, mismatch.What, says)
	}
	dir := filepath.Join(t.TempDir(), "m")
	require.NoError(t, model(t, modeltest.Classifier(), 2).Save(dir))
	path := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	text = []byte(strings.Replace(string(text), "{", `{"problem_type": "multi_label_classification",`, 1))
	require.NoError(t, os.WriteFile(path, text, 0o644))
	multi, err := models.Open(dir)
	require.NoError(t, err)
	require.ErrorContains(t, fuse.Check(multi, a), "problem_type differs")
	require.NoError(t, fuse.Check(multi, multi))
	b := modeltest.Classifier().Batch(2, 1)
	_, err = multi.Complete(b)
	require.ErrorContains(t, err, "labels has shape [2] of integers, want [N 3] of floats")
	delete(b, models.Labels)
	_, err = multi.Complete(b)
	require.NoError(t, err)
}
