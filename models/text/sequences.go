package text

import "fmt"

// minLength is the length of the shortest sequence: [CLS], one piece, [SEP].
const minLength = 3

// Pack joins the word pieces of paragraphs, one after the other, and cuts them
// into sequences of length T: [CLS], T-2 pieces, [SEP]. The pieces left over at
// the end are dropped. A length below 3 is an error; where not one sequence is
// filled the error is [ErrEmpty].
func Pack(t *Tokenizer, paragraphs []string, length int) ([][]int32, error) {
	if length < minLength {
		return nil, fmt.Errorf("text: sequences of length %d, want at least %d", length, minLength)
	}
	var seqs [][]int32
	seq := []int32{t.Special.CLS}
	for _, p := range paragraphs {
		for _, id := range t.Encode(p) {
			seq = append(seq, id)
			if len(seq) == length-1 {
				seqs = append(seqs, append(seq, t.Special.SEP))
				seq = []int32{t.Special.CLS}
			}
		}
	}
	if len(seqs) == 0 {
		return nil, fmt.Errorf("%w: %d word pieces do not fill a sequence of %d", ErrEmpty, len(seq)-1, length)
	}
	return seqs, nil
}

// EncodeBatch makes a sequence of length T of every sentence: [CLS], its first
// T-2 word pieces, [SEP], and [PAD] to the end. A length below 3 is an error.
func (t *Tokenizer) EncodeBatch(sentences []string, length int) ([][]int32, error) {
	if length < minLength {
		return nil, fmt.Errorf("text: sequences of length %d, want at least %d", length, minLength)
	}
	seqs := make([][]int32, len(sentences))
	for i, s := range sentences {
		ids := t.Encode(s)
		seq := append([]int32{t.Special.CLS}, ids[:min(len(ids), length-2)]...)
		seq = append(seq, t.Special.SEP)
		for len(seq) < length {
			seq = append(seq, t.Special.Pad)
		}
		seqs[i] = seq
	}
	return seqs, nil
}
