package text

import (
	"math/rand/v2"

	"github.com/otfuse/otfuse/models"
)

// Masking hides word pieces for a masked language model to find (Devlin et al.,
// "BERT", 2019): each is chosen with probability 0.15; of those chosen, 80 %
// become [MASK], 10 % a random word piece and 10 % stay. [PAD], [UNK], [CLS],
// [SEP] and [MASK] are never chosen.
type Masking struct{ Seed uint64 }

const (
	chosen   = 0.15
	masked   = 0.8 // of those chosen
	replaced = 0.9 // of those chosen, with those masked
)

// Batch returns input_ids, attention_mask, token_type_ids and labels [N, T] of
// sequences of one length. What is hidden depends on the seed, the epoch and the
// place of a sequence in seqs, and on nothing else.
func (m Masking) Batch(t *Tokenizer, seqs [][]int32, epoch int) models.Batch {
	b := plain(t, seqs)
	ids, labels := b["input_ids"].Ints, b[models.Labels].Ints
	at := 0
	for i, seq := range seqs {
		rng := rand.New(rand.NewPCG(m.Seed, uint64(epoch)<<32|uint64(uint32(i))))
		for _, id := range seq {
			if !t.Special.has(id) && rng.Float64() < chosen {
				labels[at] = id
				switch u := rng.Float64(); {
				case u < masked:
					ids[at] = t.Special.Mask
				case u < replaced:
					ids[at] = rng.Int32N(int32(t.Size()))
				}
			}
			at++
		}
	}
	return b
}

// Turns returns one sample for each word piece of the sequences that stands for
// text, with that one masked: exp of their mean loss is the pseudo-perplexity of
// the sequences (Salazar et al., "Masked Language Model Scoring", 2020).
func Turns(t *Tokenizer, seqs ...[]int32) models.Batch {
	var all [][]int32
	var places []int
	for _, seq := range seqs {
		for i, id := range seq {
			if !t.Special.has(id) {
				all, places = append(all, seq), append(places, i)
			}
		}
	}
	b := plain(t, all)
	for i, place := range places {
		at := i*len(all[i]) + place
		b["input_ids"].Ints[at] = t.Special.Mask
		b[models.Labels].Ints[at] = all[i][place]
	}
	return b
}

// Classed returns sequences of one length with a label each.
func Classed(t *Tokenizer, seqs [][]int32, labels []int32) models.Batch {
	b := plain(t, seqs)
	b[models.Labels] = models.Array{Shape: []int{len(seqs)}, Ints: labels}
	return b
}

// plain returns the sequences with nothing hidden and no label.
func plain(t *Tokenizer, seqs [][]int32) models.Batch {
	var length int
	if len(seqs) > 0 {
		length = len(seqs[0])
	}
	array := func() models.Array {
		return models.Array{Shape: []int{len(seqs), length}, Ints: make([]int32, len(seqs)*length)}
	}
	b := models.Batch{"input_ids": array(), "attention_mask": array(), "token_type_ids": array(), models.Labels: array()}
	at := 0
	for _, seq := range seqs {
		for _, id := range seq {
			b["input_ids"].Ints[at] = id
			b[models.Labels].Ints[at] = models.Ignore
			if id != t.Special.Pad {
				b["attention_mask"].Ints[at] = 1
			}
			at++
		}
	}
	return b
}
