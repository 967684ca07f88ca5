package main

import (
	"context"
	"embed"
	"errors"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/internal/language"
	"github.com/otfuse/otfuse/models/text"
)

// shipped holds the parents that come with the program; parents/README.md says
// how they were made.
//
//go:embed parents
var shipped embed.FS

// corpus opens the text of a story: "auto" is one that parents can be shipped
// for where none are given.
func corpus(ctx context.Context, o options) (language.Corpus, error) {
	if o.data == "auto" && o.parents == "" {
		return language.First(ctx, o.dir, "wikitext2")
	}
	return language.Open(ctx, o.data, o.dir)
}

// given opens the tokenizer of -vocab, or of the folder of -dir; nil where there
// is none.
func given(o options) (tok *text.Tokenizer, path string, err error) {
	where := []string{o.vocab}
	if o.vocab == "" && o.dir != "" {
		where = []string{filepath.Join(o.dir, language.TokenizerFile), filepath.Join(o.dir, language.VocabularyFile)}
	}
	for _, path := range where {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && o.vocab == "" {
			continue
		}
		tok, err := text.OpenTokenizer(path)
		return tok, path, err
	}
	return nil, "", nil
}
