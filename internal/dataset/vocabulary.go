package dataset

import (
	"fmt"
	"maps"
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
	m, letters := newMerger(counts), map[string]bool{}
	for _, w := range m.words {
		for _, piece := range w.pieces {
			letters[piece] = true
		}
	}
	vocabulary := slices.Concat(special, slices.Sorted(maps.Keys(letters)))
	if len(vocabulary) > size {
		return nil, fmt.Errorf("%w: %d word pieces do not hold the %d letters of the text",
			text.ErrVocabulary, size, len(letters))
	}
	known := map[string]bool{}
	for len(vocabulary) < size {
		merged, ok := m.mergeNext()
		if !ok {
			break
		}
		if !known[merged] { // two ways may lead to one piece
			known[merged] = true
			vocabulary = append(vocabulary, merged)
		}
	}
	return vocabulary, nil
}

// continued marks a piece inside of a word.
const continued = "##"

// merger merges neighbouring pieces of words.
type merger struct {
	words []counted
	pairs map[[2]string]int          // how often neighbours stand side by side
	found map[[2]string]map[int]bool // the words where they do, or did
}

type counted struct {
	pieces []string
	count  int
}

func newMerger(counts map[string]int) *merger {
	m := &merger{pairs: map[[2]string]int{}, found: map[[2]string]map[int]bool{}}
	for _, word := range slices.Sorted(maps.Keys(counts)) {
		w := counted{count: counts[word]}
		for i, r := range word {
			piece := string(r)
			if i > 0 {
				piece = continued + piece
			}
			w.pieces = append(w.pieces, piece)
		}
		m.words = append(m.words, w)
		m.countPairs(len(m.words)-1, 1)
	}
	return m
}

// countPairs counts the pairs of a word, or with sign -1 takes them back.
func (m *merger) countPairs(i, sign int) {
	w := m.words[i]
	for k := range len(w.pieces) - 1 {
		pair := [2]string{w.pieces[k], w.pieces[k+1]}
		m.pairs[pair] += sign * w.count
		if m.found[pair] == nil {
			m.found[pair] = map[int]bool{}
		}
		m.found[pair][i] = true
	}
}

// mergeNext merges the most frequent pair, the first in order among equals. Pairs
// that stand there once are not worth a piece.
func (m *merger) mergeNext() (merged string, ok bool) {
	var best [2]string
	most := 1
	for pair, n := range m.pairs {
		if n > most || n == most && most > 1 && slices.Compare(pair[:], best[:]) < 0 {
			best, most = pair, n
		}
	}
	if most == 1 {
		return "", false
	}
	merged = best[0] + strings.TrimPrefix(best[1], continued)
	for i := range m.found[best] {
		m.countPairs(i, -1)
		var pieces []string
		for k := 0; k < len(m.words[i].pieces); k++ {
			w := m.words[i].pieces
			if k+1 < len(w) && w[k] == best[0] && w[k+1] == best[1] {
				pieces = append(pieces, merged)
				k++
			} else {
				pieces = append(pieces, w[k])
			}
		}
		m.words[i].pieces = pieces
		m.countPairs(i, 1)
	}
	delete(m.pairs, best)
	delete(m.found, best)
	return merged, true
}
