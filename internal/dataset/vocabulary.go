package dataset

import (
	"fmt"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/models/text"
)

// TrainVocabulary learns a vocabulary of at most size word pieces for
// [text.NewTokenizer] from paragraphs: the special pieces, every letter at the
// head and inside of a word, and the pieces that result when the most frequent
// pair of neighbours is merged, again and again (Sennrich et al., "Neural Machine
// Translation of Rare Words with Subword Units", 2016). The same text gives the
// same vocabulary. The error is [text.ErrEmpty] for a text without words and
// [text.ErrVocabulary] for a size that does not hold the letters.
func TrainVocabulary(paragraphs []string, size int) ([]string, error) {
	special := text.SpecialPieces()
	t, err := text.NewTokenizer(special)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, p := range paragraphs {
		for _, word := range t.Words(p) {
			counts[word]++
		}
	}
	if len(counts) == 0 {
		return nil, fmt.Errorf("%w: no word in %d paragraphs", text.ErrEmpty, len(paragraphs))
	}
	m := newMerger(counts, spellPieces, joinPieces)
	letters := m.pieces()
	vocabulary := slices.Concat(special, letters)
	if len(vocabulary) > size {
		return nil, fmt.Errorf("%w: %d word pieces do not hold the %d letters of the text",
			text.ErrVocabulary, size, len(letters))
	}
	known := map[string]bool{}
	for len(vocabulary) < size {
		pair, ok := m.mergeNext()
		if !ok {
			break
		}
		if merged := joinPieces(pair); !known[merged] { // two ways may lead to one piece
			known[merged] = true
			vocabulary = append(vocabulary, merged)
		}
	}
	return vocabulary, nil
}

// continued marks a piece inside of a word.
const continued = "##"

// spellPieces returns the word pieces of a word, a letter each.
func spellPieces(word string) (pieces []string) {
	for i, r := range word {
		piece := string(r)
		if i > 0 {
			piece = continued + piece
		}
		pieces = append(pieces, piece)
	}
	return pieces
}

// joinPieces returns the word piece that two neighbours make.
func joinPieces(pair [2]string) string { return pair[0] + strings.TrimPrefix(pair[1], continued) }
