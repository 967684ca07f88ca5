package text_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/text"
)

// sequences returns n sequences of the given length: [CLS], words, [UNK], [SEP].
func sequences(n, length int) [][]int32 {
	rng := rand.New(rand.NewPCG(3, 3))
	seqs := make([][]int32, n)
	for i := range seqs {
		seqs[i] = []int32{2}
		for range length - 3 {
			seqs[i] = append(seqs[i], 5+rng.Int32N(int32(len(small)-5)))
		}
		seqs[i] = append(seqs[i], 1, 3)
	}
	return seqs
}

func TestMaskingShares(t *testing.T) {
	tok := smallTokenizer(t)
	seqs := sequences(500, 103)
	b := text.Masking{Seed: 1}.Batch(tok, seqs, 0)
	require.NoError(t, b.Check())
	var words, hidden, masks, same float64
	for i, seq := range seqs {
		for j, id := range seq {
			at := i*103 + j
			got, label := b["input_ids"].Ints[at], b[models.Labels].Ints[at]
			if label == models.Ignore {
				require.Equal(t, id, got, "changed without a label")
			} else {
				require.Equal(t, id, label)
				require.GreaterOrEqual(t, id, int32(5), "a special word piece was chosen")
				hidden++
			}
			switch {
			case id < 5:
				continue
			case label != models.Ignore && got == 4:
				masks++
			case label != models.Ignore && got == id:
				same++
			}
			words++
		}
	}
	// Six standard deviations of a binomial, of 50,000 and of 7,500.
	assert.InDelta(t, 0.15, hidden/words, 0.01)
	share := 1 / float64(len(small)) // a random word piece may be [MASK], or the one it replaces
	assert.InDelta(t, 0.8+0.1*share, masks/hidden, 0.03)
	assert.InDelta(t, 0.1+0.1*share, same/hidden, 0.022)
	assert.NotContains(t, b["attention_mask"].Ints, int32(0))
}

func TestMaskingDependsOnSeedEpochAndPlaceAlone(t *testing.T) {
	tok := smallTokenizer(t)
	seqs := sequences(8, 40)
	base := text.Masking{Seed: 1}.Batch(tok, seqs, 2)
	assert.Equal(t, base, text.Masking{Seed: 1}.Batch(tok, seqs, 2))
	assert.Equal(t, base.Slice(0, 3), text.Masking{Seed: 1}.Batch(tok, seqs[:3], 2), "later sequences do not matter")
	assert.NotEqual(t, base, text.Masking{Seed: 1}.Batch(tok, seqs, 3))
	assert.NotEqual(t, base, text.Masking{Seed: 2}.Batch(tok, seqs, 2))
	assert.Equal(t, sequences(8, 40), seqs, "inputs are only read")
}

// TestMaskingRagged: shorter sequences are filled with padding that is neither
// attended to nor counted, and hide what they hide among equals.
func TestMaskingRagged(t *testing.T) {
	tok := smallTokenizer(t)
	long, short := sequences(1, 40)[0], sequences(1, 10)[0]
	b := text.Masking{Seed: 1, Rate: 0.5}.Batch(tok, [][]int32{long, short, {}}, 0)
	require.NoError(t, b.Check())
	require.Equal(t, []int{3, 40}, b["input_ids"].Shape)
	ids, mask, labels := b["input_ids"].Ints, b["attention_mask"].Ints, b[models.Labels].Ints
	for at := 40 + len(short); at < len(ids); at++ {
		require.Equal(t, []int32{tok.Special.Pad, 0, models.Ignore}, []int32{ids[at], mask[at], labels[at]})
	}
	alone := text.Masking{Seed: 1, Rate: 0.5}.Batch(tok, [][]int32{long, short}, 0)
	assert.Equal(t, alone, b.Slice(0, 2))
	hidden := 0
	for at := 40; at < 40+len(short); at++ {
		if labels[at] != models.Ignore {
			hidden++
			assert.Equal(t, short[at-40], labels[at])
		}
	}
	assert.NotZero(t, hidden)
}

// TestMaskingRate: the rate is that of the word pieces chosen.
func TestMaskingRate(t *testing.T) {
	tok, seqs := smallTokenizer(t), sequences(20, 43)
	assert.Equal(t, text.Masking{}.Batch(tok, seqs, 0), text.Masking{Rate: 0.15}.Batch(tok, seqs, 0))
	hidden := 0
	for _, label := range (text.Masking{Rate: 1}).Batch(tok, seqs, 0)[models.Labels].Ints {
		if label != models.Ignore {
			hidden++
		}
	}
	assert.Equal(t, 20*40, hidden, "all but [CLS], [UNK] and [SEP]")
}

func TestMaskEach(t *testing.T) {
	b := text.MaskEach(smallTokenizer(t), []int32{2, 7, 1, 9, 3, 0})
	require.NoError(t, b.Check())
	assert.Equal(t, models.Batch{
		"input_ids":      {Shape: []int{2, 6}, Ints: []int32{2, 4, 1, 9, 3, 0, 2, 7, 1, 4, 3, 0}},
		"attention_mask": {Shape: []int{2, 6}, Ints: []int32{1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0}},
		"token_type_ids": {Shape: []int{2, 6}, Ints: make([]int32, 12)},
		models.Labels: {Shape: []int{2, 6}, Ints: []int32{
			-100, 7, -100, -100, -100, -100, -100, -100, -100, 9, -100, -100,
		}},
	}, b)
	two := text.MaskEach(smallTokenizer(t), []int32{2, 7, 1, 9, 3, 0}, []int32{2, 8, 3, 0, 0, 0})
	assert.Equal(t, b, two.Slice(0, 2))
	assert.Equal(t, []int32{2, 4, 3, 0, 0, 0}, two["input_ids"].Ints[12:])
}
