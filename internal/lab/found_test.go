package lab

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/modeltest"
)

// snapshot saves a model as the cache of the hub has it: files are links to others.
func snapshot(t *testing.T, m *models.Model) string {
	t.Helper()
	repository := t.TempDir()
	blobs, dir := filepath.Join(repository, "blobs"), filepath.Join(repository, "snapshots", "0123abc")
	require.NoError(t, m.Save(blobs))
	require.NoError(t, os.MkdirAll(dir, 0o755))
	entries, err := os.ReadDir(blobs)
	require.NoError(t, err)
	for _, e := range entries {
		require.NoError(t, os.Symlink(filepath.Join("..", "..", "blobs", e.Name()), filepath.Join(dir, e.Name())))
	}
	return dir
}

// renumbered returns a classifier of images that has its classes in another order and
// reads pixels of another scale: the same network, by the names of the classes.
func renumbered(t *testing.T, m *models.Model, norm data.Norm) *models.Model {
	t.Helper()
	names := m.ClassNames()
	other := slices.Clone(names)
	slices.Reverse(other)
	like, err := m.WithClassNames(other)
	require.NoError(t, err)
	like.Files = maps.Clone(m.Files)
	like.Files[data.ProcessorFile], err = json.Marshal(data.ImageProcessor{Size: data.Size{H: 32, W: 32}, Norm: norm})
	require.NoError(t, err)
	dirs := snapshot(t, like) + "," + snapshot(t, m) // the second takes over what the first says
	both, err := OpenParents(t.Context(), dirs)
	require.NoError(t, err)
	return both[1]
}

// TestParentsOfOthers: parents from linked files, one of which has its classes in another
// order and reads otherwise normalised images, are scored and fused by one batch.
func TestParentsOfOthers(t *testing.T) {
	i := fewImages(t)
	m := pair(t, i, tinyImageNet)[0]
	other := renumbered(t, m, data.Norm{Mean: [3]float32{0.4, 0.5, 0.6}, Std: [3]float32{0.2, 0.3, 0.4}})
	require.NotEqual(t, m.ClassNames(), other.ClassNames())
	require.NotEqual(t, m.Files, other.Files)

	parents, err := OpenParents(t.Context(), snapshot(t, m)+","+snapshot(t, other))
	require.NoError(t, err)
	require.Equal(t, m.ClassNames(), parents[1].ClassNames())
	require.NoError(t, i.Accept(parents))
	require.NoError(t, CheckParents(parents))
	samples, err := i.Samples(i.First(4))
	require.NoError(t, err)
	require.LessOrEqual(t, modeltest.Apart(t, modeltest.Logits(m, samples), modeltest.Logits(parents[1], samples)), 1e-4)
}

// TestClassesByName: images take the order in which the parents have the classes; what
// has other names is refused, or taken by position where no name is the same.
func TestClassesByName(t *testing.T) {
	parents := pair(t, fewImages(t), tinyImageNet)
	named := func(names []string) []*models.Model {
		var out []*models.Model
		for _, m := range parents {
			m, err := m.WithClassNames(names)
			require.NoError(t, err)
			out = append(out, m)
		}
		return out
	}
	i := fewImages(t)
	own := slices.Clone(i.Train.Classes)
	of := func(set *data.Set) (names []string) {
		for _, label := range set.Labels {
			names = append(names, strings.ToLower(set.Classes[label]))
		}
		return names
	}
	train, test, first := of(i.Train), of(i.Test), i.Train.Labels[0]
	turned := slices.Clone(own)
	slices.Reverse(turned)
	turned[0] = strings.ToUpper(turned[0])
	require.NoError(t, i.Accept(named(turned)))
	require.Equal(t, turned, i.Train.Classes)
	require.Equal(t, [][]string{train, test}, [][]string{of(i.Train), of(i.Test)}, "every image keeps its class")
	require.Equal(t, int32(len(own))-1-first, i.Train.Labels[0])

	require.NoError(t, i.Accept(named(own)))
	require.Equal(t, own, i.Train.Classes)
	before := i.Train
	var foreign []string
	for k := range own {
		foreign = append(foreign, fmt.Sprint("n0", k))
	}
	require.NoError(t, i.Accept(named(foreign)))
	require.Same(t, before, i.Train)
	foreign[3] = own[5]
	require.ErrorContains(t, i.Accept(named(foreign)), "only 1 have the same names")
	apart := []*models.Model{named(own)[0], named(turned)[1]}
	require.ErrorContains(t, i.Accept(apart), "parents 0 and 1 name their classes")
}

// TestTokenizersOfOthers: parents bring tokenizers as people have them, and their text
// becomes the ids that those give.
func TestTokenizersOfOthers(t *testing.T) {
	words := []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
	for c := 'a'; c <= 'z'; c++ {
		words = append(words, string(c), "##"+string(c), strings.ToUpper(string(c)), "##"+strings.ToUpper(string(c)))
	}
	vocabulary := strings.Join(words, "\n") + "\n"
	tokenizer := func(more string) string {
		numbers := map[string]int{}
		for k, word := range words {
			numbers[word] = k
		}
		raw, err := json.Marshal(numbers)
		require.NoError(t, err)
		return `{"model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
			"vocab": ` + string(raw) + `},
			"normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
			"lowercase": false},
			"pre_tokenizer": {"type": "BertPreTokenizer"}` + more + `}`
	}
	added := fmt.Sprintf(`, "added_tokens": [{"id": %d, "content": "<user>", "special": false}]`, len(words))
	for name, c := range map[string]struct {
		files map[string]string
		rows  int      // beyond the vocabulary
		want  []string // of "aB <user>"
	}{
		"cased vocab.txt": {map[string]string{"vocab.txt": vocabulary,
			"tokenizer_config.json": `{"do_lower_case": false}`}, 0,
			[]string{"a", "##B", "[UNK]", "u", "##s", "##e", "##r", "[UNK]"}},
		"uncased vocab.txt": {map[string]string{"vocab.txt": vocabulary}, 0,
			[]string{"a", "##b", "[UNK]", "u", "##s", "##e", "##r", "[UNK]"}},
		"tokenizer.json": {map[string]string{"tokenizer.json": tokenizer("")}, 0,
			[]string{"a", "##B", "[UNK]", "u", "##s", "##e", "##r", "[UNK]"}},
		"added words":    {map[string]string{"tokenizer.json": tokenizer(added)}, 1, []string{"a", "##B", "<user>"}},
		"a padded table": {map[string]string{"vocab.txt": vocabulary}, 8, nil},
	} {
		t.Run(name, func(t *testing.T) {
			config := modeltest.MaskedLM().ModelConfig().(models.BERTConfig)
			config.Vocab = len(words) + c.rows
			m, err := modeltest.Random(models.BERTForMaskedLM(), config, 1)
			require.NoError(t, err)
			m.Files = map[string][]byte{}
			for file, text := range c.files {
				m.Files[file] = []byte(text)
			}
			parents, err := OpenParents(t.Context(), snapshot(t, m)+","+snapshot(t, m))
			require.NoError(t, err)
			texts := fewTexts()
			require.NoError(t, texts.Accept(parents))
			var want []int32
			for _, word := range c.want {
				at := slices.Index(words, word)
				if word == "<user>" {
					at = len(words)
				}
				want = append(want, int32(at))
			}
			if c.want != nil {
				require.Equal(t, want, texts.tok.Encode("aB <user>"))
			}
		})
	}
}
