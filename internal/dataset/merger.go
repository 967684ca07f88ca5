package dataset

import (
	"maps"
	"slices"
)

// merger merges neighbouring pieces of words.
type merger struct {
	words []counted
	pairs map[[2]string]int          // how often neighbours stand side by side
	found map[[2]string]map[int]bool // the words where they do, or did
	join  func(pair [2]string) string
}

type counted struct {
	pieces []string
	count  int
}

// newMerger starts from words with their counts, each of them spelled in pieces.
func newMerger(counts map[string]int, spell func(string) []string, join func([2]string) string) *merger {
	m := &merger{pairs: map[[2]string]int{}, found: map[[2]string]map[int]bool{}, join: join}
	for _, word := range slices.Sorted(maps.Keys(counts)) {
		m.words = append(m.words, counted{spell(word), counts[word]})
		m.countPairs(len(m.words)-1, 1)
	}
	return m
}

// pieces lists what the words consist of, in order.
func (m *merger) pieces() []string {
	found := map[string]bool{}
	for _, w := range m.words {
		for _, piece := range w.pieces {
			found[piece] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
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

// mergeNext merges the most frequent pair, the first in order among equals, and
// returns it. Pairs that stand there once are not worth a piece.
func (m *merger) mergeNext() (best [2]string, ok bool) {
	most := 1
	for pair, n := range m.pairs {
		if n > most || n == most && most > 1 && slices.Compare(pair[:], best[:]) < 0 {
			best, most = pair, n
		}
	}
	if most == 1 {
		return best, false
	}
	merged := m.join(best)
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
	return best, true
}
