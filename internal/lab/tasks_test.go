package lab

import (
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
)

// TestBatches: batches follow from their step, cover some samples alone where these
// are few, and carry labels unless they are taken off.
func TestBatches(t *testing.T) {
	texts := fewTexts()
	_, err := texts.Network(tinyTextNet(1))
	require.NoError(t, err)
	for _, task := range []Task{fewImages(t), texts} {
		all := task.Batches(nil, 16, 3)
		require.Equal(t, task.Size()/16, all.PerEpoch)
		a, err := all.At(5)
		require.NoError(t, err)
		b, err := task.Batches(nil, 16, 3).At(5)
		require.NoError(t, err)
		require.Equal(t, a, b, "by the step alone")
		c, err := task.Batches(nil, 16, 4).At(5)
		require.NoError(t, err)
		require.NotEqual(t, a, c, "by the seed")
		require.Equal(t, 16, a.Len())
		require.Contains(t, a, models.Labels)

		few := task.Batches([]int{3, 1, 2}, 16, 3)
		require.Equal(t, 1, few.PerEpoch)
		d, err := few.At(0)
		require.NoError(t, err)
		require.Equal(t, 3, d.Len())
		e, err := few.unlabelled().At(0)
		require.NoError(t, err)
		require.NotContains(t, e, models.Labels)
		delete(d, models.Labels)
		require.Equal(t, d, e)

		samples, err := task.Samples(task.First(4))
		require.NoError(t, err)
		require.Equal(t, 4, samples.Len())
		quick, size, err := task.Quick(7)
		require.NoError(t, err)
		require.Equal(t, 7, quick.Len())
		require.Positive(t, size)
	}
	_, err = fewImages(t).Batches(nil, 1000, 1).At(0)
	require.ErrorContains(t, err, "less than a batch")
}

// TestDraw: draws are of their seed, without repetition.
func TestDraw(t *testing.T) {
	i := fewImages(t)
	a := Draw(i, 10, 1)
	require.Len(t, a, 10)
	require.Equal(t, a, Draw(i, 10, 1))
	require.NotEqual(t, a, Draw(i, 10, 2))
	seen := map[int]bool{}
	for _, k := range Draw(i, 1000, 1) {
		seen[k] = true
	}
	require.Len(t, seen, i.Size())
}

// TestAcceptImages: parents that read other images, or no images, are refused; the
// normalisation is theirs.
func TestAcceptImages(t *testing.T) {
	i, texts := fewImages(t), fewTexts()
	parents := pair(t, i, tinyImageNet)
	text, err := texts.Network(tinyTextNet(1))
	require.NoError(t, err)
	err = i.Accept([]*models.Model{parents[0], text})
	require.ErrorContains(t, err, "parent 1 is a BertForMaskedLM, which reads no images")
	require.Equal(t, 32, ImageSide(parents[0]))
	require.Zero(t, ImageSide(text))

	norm := data.Norm{Mean: [3]float32{0.1, 0.2, 0.3}, Std: [3]float32{1, 2, 3}}
	raw, err := json.Marshal(data.ImageProcessor{Size: data.Size{H: 32, W: 32}, Norm: norm})
	require.NoError(t, err)
	parents[1].Files = map[string][]byte{data.ProcessorFile: raw}
	require.ErrorContains(t, i.Accept(parents), "parents 0 and 1 were trained on differently normalised images")
	parents[0].Files = parents[1].Files
	require.NoError(t, i.Accept(parents))
	require.Equal(t, norm, i.Norm)
	parents[0].Files = map[string][]byte{data.ProcessorFile: []byte("{")}
	require.ErrorContains(t, i.Accept(parents), "parent 0: ")
	i.Train.Classes = i.Train.Classes[1:]
	require.ErrorContains(t, i.Accept(parents), "of 10 classes, few shapes has 32×32 and 9")
}

// TestVocabulary: a tokenizer is taken from a file, from a folder or from the
// parents, which must agree.
func TestVocabulary(t *testing.T) {
	texts := fewTexts()
	m, err := texts.Network(tinyTextNet(1))
	require.NoError(t, err)
	dir := t.TempDir()
	none, err := OpenVocabulary(t.Context(), "", dir)
	require.NoError(t, err)
	require.Nil(t, none)
	require.NoError(t, os.WriteFile(filepath.Join(dir, VocabularyFile), m.Files[VocabularyFile], 0o600))
	found, err := OpenVocabulary(t.Context(), "", dir)
	require.NoError(t, err)
	require.Equal(t, m.Files, found.Files)
	found, err = OpenVocabulary(t.Context(), dir, "")
	require.NoError(t, err, "the directory of a checkpoint")
	require.Equal(t, m.Files, found.Files)
	_, err = OpenVocabulary(t.Context(), t.TempDir(), "")
	require.ErrorContains(t, err, "has neither tokenizer.json nor vocab.txt")
	_, err = OpenVocabulary(t.Context(), filepath.Join(dir, "nowhere.txt"), dir)
	require.Error(t, err, "a file that is named must be there")

	given := fewTexts()
	given.Given = found
	net := tinyTextNet(1)
	net.Words = 7 // has no part in it
	again, err := given.Network(net)
	require.NoError(t, err)
	require.Equal(t, m.Params, again.Params)
	require.NoError(t, given.Accept([]*models.Model{m, again}))

	bare := *m
	bare.Files = nil
	require.ErrorContains(t, texts.Accept([]*models.Model{m, &bare}), "vocab.txt of parent 1 differs")
	require.ErrorContains(t, texts.Accept([]*models.Model{&bare, &bare}), "have neither tokenizer.json nor vocab.txt")
	net = tinyTextNet(2)
	net.Length = 6
	short, err := fewTexts().Network(net)
	require.NoError(t, err)
	require.ErrorContains(t, texts.Accept([]*models.Model{m, short}), "parent 1 reads sequences of up to 6")

	stranger := *m
	stranger.Files = map[string][]byte{checksumFile: []byte("0123")}
	require.ErrorContains(t, texts.Accept([]*models.Model{&stranger}), "was not trained on this text")
}

// TestPseudoPerplexity: of a network that has learned nothing it is about the
// number of word pieces.
func TestPseudoPerplexity(t *testing.T) {
	d, texts := openDevice(t), fewTexts()
	parents := pair(t, texts, tinyTextNet)
	p, err := texts.PseudoPerplexity(t.Context(), d, 2, parents...)
	require.NoError(t, err)
	words := float64(wordPieces(parents[0]).Below)
	require.InDelta(t, math.Log(words), math.Log(p), 0.2)
}

// imageFolder writes three images of each of two classes.
func imageFolder(t *testing.T) string {
	dir := t.TempDir()
	for _, sub := range []string{"train/dark", "train/light", "test/dark", "test/light"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
		for k := range 3 {
			img := image.NewGray(image.Rect(0, 0, 8, 8))
			for p := range img.Pix {
				img.Pix[p] = uint8(k*10+p) + map[bool]uint8{true: 100}[filepath.Base(sub) == "light"]
			}
			f, err := os.Create(filepath.Join(dir, sub, fmt.Sprintf("%d.png", k)))
			require.NoError(t, err)
			require.NoError(t, png.Encode(f, img))
			require.NoError(t, f.Close())
		}
	}
	return dir
}

// TestOpen: sets and texts are opened by name, and what is not known is told with
// what is.
func TestOpen(t *testing.T) {
	i, err := OpenImages(t.Context(), ImageSource{Set: "imagefolder", Dir: imageFolder(t), Side: 8, Most: 2})
	require.NoError(t, err)
	require.Equal(t, []int{6, 2}, []int{i.Size(), i.Tests()})
	require.Equal(t, []int32{0, 1}, i.Test.Labels, "one of each class")
	require.Equal(t, []int{8, 8}, []int{i.Train.H, i.Train.W})
	name, _ := i.Names()
	require.Equal(t, "imagefolder", name)
	_, err = OpenImages(t.Context(), ImageSource{Set: "mnist"})
	require.ErrorContains(t, err, "there are cifar10")

	_, err = OpenCorpus(t.Context(), "enwik8", "")
	require.ErrorContains(t, err, `no text is called "enwik8", allowed are auto, wikitext2, wiki2016, atlas, folder`)
	_, err = OpenCorpus(t.Context(), "folder", "")
	require.ErrorContains(t, err, "-dir with train.txt")
	dir := t.TempDir()
	for _, name := range []string{"train.txt", "valid.txt"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("a river\n"), 0o600))
	}
	c, err := OpenCorpus(t.Context(), "folder", dir)
	require.NoError(t, err)
	require.Equal(t, "text of "+filepath.Base(dir), c.Label)

	_, err = OpenParents(t.Context(), "one")
	require.ErrorContains(t, err, "want at least two")
	none, err := OpenParents(t.Context(), "")
	require.NoError(t, err)
	require.Nil(t, none)
	_, err = OpenParents(t.Context(), "./nowhere, ./either")
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = ShippedParents("folder")
	require.ErrorContains(t, err, "no parents are shipped for folder; give two with -parents")
}

// TestCheckOutputs: neither a parent nor somebody's files are in danger, and that is
// known before any work.
func TestCheckOutputs(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"fused", "own", "foreign"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	require.NoError(t, CheckOutputs(dir, filepath.Join(dir, "own"), "fused", "finetuned"))
	require.ErrorContains(t, CheckOutputs(dir, "owner/name, "+filepath.Join(dir, "fused"), "fused"), "an input")
	require.ErrorContains(t, CheckOutputs(filepath.Join(dir, "own", "x"), filepath.Join(dir, "own")), "a parent")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "foreign", "thesis.txt"), nil, 0o600))
	require.ErrorContains(t, CheckOutputs(dir, "", "foreign"), "thesis.txt")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "report.html"), []byte("<html>my own</html>"), 0o600))
	require.ErrorContains(t, CheckOutputs(dir, "", "fused"), "report.html is not replaced")
}
