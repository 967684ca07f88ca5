package lab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/text"
)

// The files that a tokenizer comes as. TokenizerFile is preferred. A checkpoint
// whose words are not its own to distribute has checksumFile instead: the SHA-256
// of the vocabulary that is learned from its training text.
const (
	TokenizerFile  = "tokenizer.json"
	VocabularyFile = "vocab.txt"
	settingsFile   = "tokenizer_config.json" // says how a vocab.txt is read
	checksumFile   = "vocab.sha256.txt"
)

// Vocabulary is a tokenizer with the file that it was read from.
type Vocabulary struct {
	Tokenizer *text.Tokenizer
	Files     map[string][]byte // to save beside a checkpoint
}

// OpenVocabulary opens a vocab.txt or tokenizer.json that is named by file, by its
// directory or by the id of a checkpoint on the hub; where the name is empty, that of a
// folder if it has one. It returns nil where there is none.
func OpenVocabulary(ctx context.Context, name, folder string) (*Vocabulary, error) {
	path := vocabularyIn(folder)
	if name != "" {
		var err error
		if path, err = cli.Tokenizer(ctx, name); err != nil {
			return nil, err
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			if path = vocabularyIn(path); path == "" {
				return nil, fmt.Errorf("%s has neither %s nor %s", name, TokenizerFile, VocabularyFile)
			}
		}
	}
	if path == "" {
		return nil, nil
	}
	return readVocabulary(path)
}

// vocabularyIn returns the path of the vocabulary of a folder, "" where it has none.
func vocabularyIn(folder string) string {
	for _, name := range []string{TokenizerFile, VocabularyFile} {
		path := filepath.Join(folder, name)
		if _, err := os.Stat(path); folder != "" && !errors.Is(err, os.ErrNotExist) {
			return path
		}
	}
	return ""
}

// readVocabulary reads a vocab.txt or tokenizer.json with the settings beside it.
func readVocabulary(path string) (*Vocabulary, error) {
	tok, err := text.OpenTokenizer(path)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(path)
	name := VocabularyFile
	if filepath.Ext(path) == ".json" {
		name = TokenizerFile
	}
	files := map[string][]byte{name: raw}
	if settings, err := os.ReadFile(filepath.Join(filepath.Dir(path), settingsFile)); err == nil {
		files[settingsFile] = settings // the tokenizer was read with it
	}
	return &Vocabulary{tok, files}, err
}

// restoreVocabularies gives the parents that bring only the checksum of their
// vocabulary the one learned from this text, which must have that checksum.
func (c Corpus) restoreVocabularies(parents []*models.Model) error {
	learned := map[int]map[string][]byte{} // by number of words
	for k, m := range parents {
		sum, ok := m.Files[checksumFile]
		if !ok {
			continue
		}
		words := wordPieces(m).Below
		if learned[words] == nil {
			_, files, err := c.learnVocabulary(hiddenWords{}, words)
			if err != nil {
				return err
			}
			learned[words] = files
		}
		if got := sha256.Sum256(learned[words][VocabularyFile]); fmt.Sprintf("%x", got) != strings.TrimSpace(string(sum)) {
			return fmt.Errorf("parent %d was not trained on this text: the vocabulary learned from it differs", k)
		}
		m.Files = learned[words]
	}
	return nil
}

// wordPieces says which word pieces a network reads; nothing where it reads none.
func wordPieces(m *models.Model) models.Input {
	in, _ := m.Input("input_ids")
	return in
}

// commonTokenizer returns the tokenizer that parents were trained with, which must
// be the same: the given one or, where that is nil, their own.
func commonTokenizer(given *text.Tokenizer, parents []*models.Model) (*text.Tokenizer, error) {
	for k, m := range parents[1:] {
		for _, name := range []string{TokenizerFile, VocabularyFile} {
			if !hasTokenizer(m) && parents[0].Files[name] != nil || !hasTokenizer(parents[0]) && m.Files[name] != nil {
				return nil, fmt.Errorf("%s of parent %d differs from that of parent 0: one of them has none", name, k+1)
			}
		}
		if err := text.SameTokenizer(parents[0].Files, m.Files); err != nil {
			return nil, fmt.Errorf("the vocabulary of parent %d differs from that of parent 0: %w", k+1, err)
		}
	}
	tok := given
	for _, m := range parents {
		if !hasTokenizer(m) || tok != nil {
			continue
		}
		var err error
		if tok, err = text.ReadTokenizer(m.Files); err != nil {
			return nil, fmt.Errorf("the tokenizer of the parents: %w", err)
		}
	}
	if tok == nil {
		return nil, fmt.Errorf("the parents have neither %s nor %s; give one with -vocab", TokenizerFile, VocabularyFile)
	}
	for k, m := range parents {
		if words := wordPieces(m).Below; words < tok.Size() || words > tok.Size()+mostPadding(tok.Size()) {
			return nil, fmt.Errorf("parent %d reads a vocabulary of %d word pieces, the tokenizer has %d", k, words, tok.Size())
		}
	}
	return tok, nil
}

// hasTokenizer reports whether a parent brings a tokenizer along.
func hasTokenizer(m *models.Model) bool {
	return m.Files[TokenizerFile] != nil || m.Files[VocabularyFile] != nil
}

// mostPadding is the number of rows that a table of words may have beyond the
// vocabulary: tables are padded to sizes that suit a device.
func mostPadding(words int) int { return max(words/8, 8) }

// longestSequence bounds the length of sequences for parents that would read
// longer ones.
const longestSequence = 128

// commonObjective returns what all parents learned.
func commonObjective(parents []*models.Model) (common objective, err error) {
	for k, m := range parents {
		own, err := objectiveOf(m)
		if err != nil {
			return nil, fmt.Errorf("parent %d is %w", k, err)
		}
		if k == 0 {
			common = own
		}
		if m.Arch.Class != parents[0].Arch.Class {
			return nil, fmt.Errorf("parent %d is a %s, parent 0 a %s", k, m.Arch.Class, parents[0].Arch.Class)
		}
	}
	return common, nil
}

// commonLength checks that parents read sequences of one length, and returns it.
func commonLength(parents []*models.Model) (int, error) {
	length := wordPieces(parents[0]).Longest
	for k, m := range parents {
		if own := wordPieces(m).Longest; own != length {
			return 0, fmt.Errorf("parent %d reads sequences of up to %d word pieces, parent 0 of %d", k, own, length)
		}
	}
	return min(length, longestSequence), nil
}
