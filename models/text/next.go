package text

import (
	"fmt"

	"github.com/otfuse/otfuse/models"
)

// Chunks joins the tokens of paragraphs, one after the other, each with the end of a
// text behind it where the tokenizer has one, and cuts them into sequences of length
// T for causal language models. The tokens left over at the end are dropped. A length
// below 2 is an error; where not one sequence is filled the error is [ErrEmpty].
func Chunks(t *Tokenizer, paragraphs []string, length int) ([][]int32, error) {
	if length < 2 {
		return nil, fmt.Errorf("text: sequences of length %d, want at least 2", length)
	}
	var ids []int32
	var seqs [][]int32
	for _, p := range paragraphs {
		ids = append(ids, t.Encode(p)...)
		if t.Special.SEP >= 0 {
			ids = append(ids, t.Special.SEP)
		}
		for ; len(ids) >= length; ids = ids[length:] {
			seqs = append(seqs, ids[:length:length])
		}
	}
	if len(seqs) == 0 {
		return nil, fmt.Errorf("%w: %d tokens do not fill a sequence of %d", ErrEmpty, len(ids), length)
	}
	return seqs, nil
}

// NextTokens returns input_ids, attention_mask and labels [N, T] of sequences for a
// causal language model, where T is the length of the longest one. The labels are the
// tokens themselves, which the network shifts; shorter sequences are filled with
// tokens that are masked and count in no loss.
func NextTokens(seqs [][]int32) models.Batch {
	length := 0
	for _, seq := range seqs {
		length = max(length, len(seq))
	}
	array := func() models.Array {
		return models.Array{Shape: []int{len(seqs), length}, Ints: make([]int32, len(seqs)*length)}
	}
	ids, mask, labels := array(), array(), array()
	for i, seq := range seqs {
		for j := range length {
			at := i*length + j
			if j >= len(seq) {
				labels.Ints[at] = models.Ignore
				continue
			}
			ids.Ints[at], mask.Ints[at], labels.Ints[at] = seq[j], 1, seq[j]
		}
	}
	return models.Batch{"input_ids": ids, "attention_mask": mask, models.Labels: labels}
}
