package text

import (
	"cmp"
	"math/rand/v2"

	"github.com/otfuse/otfuse/models"
)

// Masking hides word pieces for a masked language model to find (Devlin et al.,
// "BERT", 2019): each is chosen with probability Rate; of those chosen, 80 %
// become [MASK], 10 % a random word piece and 10 % stay. [PAD], [UNK], [CLS],
// [SEP] and [MASK] are never chosen.
type Masking struct {
	Seed uint64
	Rate float64 // probability that a word piece is chosen; 0 means 0.15
}

// defaultRate is the share of word pieces that BERT was trained to find.
const defaultRate = 0.15

// The shares of the chosen word pieces that are masked, and masked or replaced.
const (
	masked   = 0.8
	replaced = 0.9
)

// Batch returns input_ids, attention_mask, token_type_ids and labels [N, T] of
// sequences, where T is the length of the longest one; shorter ones are filled
// with [PAD]. Labels are [models.Ignore] where nothing is hidden. What is hidden
// depends on the seed, the epoch and the place of a sequence in seqs, and on
// nothing else.
func (m Masking) Batch(t *Tokenizer, seqs [][]int32, epoch int) models.Batch {
	b, length := unmasked(t, seqs)
	ids, labels := b["input_ids"].Ints, b[models.Labels].Ints
	rate := cmp.Or(m.Rate, defaultRate)
	for i, seq := range seqs {
		rng := rand.New(rand.NewPCG(m.Seed, uint64(epoch)<<32|uint64(uint32(i))))
		for j, id := range seq {
			if t.Special.contains(id) || rng.Float64() >= rate {
				continue
			}
			at := i*length + j
			labels[at] = id
			switch u := rng.Float64(); {
			case u < masked:
				ids[at] = t.Special.Mask
			case u < replaced:
				ids[at] = rng.Int32N(int32(t.Size()))
			}
		}
	}
	return b
}

// MaskEach returns one sample for each word piece of the sequences that stands
// for text, with that one masked: exp of their mean loss is the
// pseudo-perplexity of the sequences (Salazar et al., "Masked Language Model
// Scoring", 2020).
func MaskEach(t *Tokenizer, seqs ...[]int32) models.Batch {
	var samples [][]int32
	var hidden []int // the place that is masked in each sample
	for _, seq := range seqs {
		for i, id := range seq {
			if !t.Special.contains(id) {
				samples, hidden = append(samples, seq), append(hidden, i)
			}
		}
	}
	b, length := unmasked(t, samples)
	for i, place := range hidden {
		at := i*length + place
		b["input_ids"].Ints[at] = t.Special.Mask
		b[models.Labels].Ints[at] = samples[i][place]
	}
	return b
}

// Labeled returns sequences with one label each, labels [N].
func Labeled(t *Tokenizer, seqs [][]int32, labels []int32) models.Batch {
	b, _ := unmasked(t, seqs)
	b[models.Labels] = models.Array{Shape: []int{len(seqs)}, Ints: labels}
	return b
}

// unmasked returns the sequences with nothing hidden and no label, filled with
// [PAD] to the length of the longest, which it returns too.
func unmasked(t *Tokenizer, seqs [][]int32) (b models.Batch, length int) {
	for _, seq := range seqs {
		length = max(length, len(seq))
	}
	array := func(value int32) models.Array {
		a := models.Array{Shape: []int{len(seqs), length}, Ints: make([]int32, len(seqs)*length)}
		for i := range a.Ints {
			a.Ints[i] = value
		}
		return a
	}
	ids, mask := array(t.Special.Pad), array(0)
	for i, seq := range seqs {
		for j, id := range seq {
			ids.Ints[i*length+j] = id
			if id != t.Special.Pad {
				mask.Ints[i*length+j] = 1
			}
		}
	}
	return models.Batch{
		"input_ids": ids, "attention_mask": mask, "token_type_ids": array(0), models.Labels: array(models.Ignore),
	}, length
}
