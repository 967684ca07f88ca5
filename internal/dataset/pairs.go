package dataset

import (
	"encoding/json"
	"fmt"

	"github.com/otfuse/otfuse/models/text"
)

// endOfText separates texts.
const endOfText = "<|endoftext|>"

// pairFile is the content of a tokenizer.json of byte pairs, as Hugging Face's
// tokenizers write it.
type pairFile struct {
	Version   string      `json:"version"`
	Added     []pairToken `json:"added_tokens"`
	Tokenizer byteLevel   `json:"pre_tokenizer"`
	Decoder   byteLevel   `json:"decoder"`
	Model     struct {
		Type   string         `json:"type"`
		Vocab  map[string]int `json:"vocab"`
		Merges [][2]string    `json:"merges"`
	} `json:"model"`
}

type pairToken struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	Left       bool   `json:"lstrip"`
	Right      bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

type byteLevel struct {
	Type  string `json:"type"`
	Space bool   `json:"add_prefix_space"`
	Trim  bool   `json:"trim_offsets"`
	Rules bool   `json:"use_regex"`
}

// TrainPairs learns at most size byte pairs, as GPT-2 has them, from paragraphs and
// returns them as a tokenizer.json: the end of a text, the bytes that occur, and what
// results when the most frequent pair of neighbours is merged, again and again. A size
// of 0 merges none, so that a token is a byte. The same text gives the same file. The
// error is [text.ErrEmpty] for a text without words and [text.ErrVocabulary] for a
// size that does not hold the bytes.
func TrainPairs(paragraphs []string, size int) ([]byte, error) {
	f := pairFile{Version: "1.0", Added: []pairToken{{Content: endOfText, Special: true}}}
	f.Tokenizer = byteLevel{Type: "ByteLevel", Trim: true, Rules: true}
	f.Decoder = f.Tokenizer
	f.Model.Type, f.Model.Vocab, f.Model.Merges = "BPE", map[string]int{endOfText: 0}, [][2]string{}
	raw, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	t, err := text.ParseTokenizer("tokenizer.json", raw)
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
	join := func(pair [2]string) string { return pair[0] + pair[1] }
	m := newMerger(counts, spellBytes, join)
	for _, letter := range m.pieces() {
		f.Model.Vocab[letter] = len(f.Model.Vocab)
	}
	if size > 0 && len(f.Model.Vocab) > size {
		return nil, fmt.Errorf("%w: %d byte pairs do not hold the %d letters of the text",
			text.ErrVocabulary, size, len(f.Model.Vocab)-1)
	}
	for len(f.Model.Vocab) < size {
		pair, ok := m.mergeNext()
		if !ok {
			break
		}
		f.Model.Merges = append(f.Model.Merges, pair)
		if _, twice := f.Model.Vocab[join(pair)]; !twice { // two ways may lead to one piece
			f.Model.Vocab[join(pair)] = len(f.Model.Vocab)
		}
	}
	return json.MarshalIndent(f, "", " ")
}

// spellBytes returns the bytes of a word, each as its letter.
func spellBytes(word string) (letters []string) {
	all := text.ByteLetters()
	for i := range len(word) {
		letters = append(letters, all[word[i]])
	}
	return letters
}
