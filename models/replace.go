package models

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/internal/bounded"
	"github.com/otfuse/otfuse/models/safetensors"
)

// A NotReplaceableError says why [Model.Save] does not write a checkpoint to a path:
// what is there is not a checkpoint, or is protected.
type NotReplaceableError struct {
	Path string
	File string // the first one there that speaks against it; "" where it is none
	Err  error  // why
}

func (e *NotReplaceableError) Error() string {
	if e.File == "" {
		return fmt.Sprintf("models: %s is not replaced: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("models: %s is not replaced: it holds %q: %v", e.Path, e.File, e.Err)
}

// Unwrap returns why.
func (e *NotReplaceableError) Unwrap() error { return e.Err }

// Replaceable reports why [Model.Save] would not write a checkpoint to path, as a
// [*NotReplaceableError]. It returns nil where there is nothing, or an empty directory,
// or a checkpoint: a config.json that names an architecture, weights, and no other files
// than those that [Open] keeps, all of them writable. A link to such a directory is
// followed; one that leads nowhere is refused, and so is the current directory with all
// that holds it.
func Replaceable(path string) error {
	refuse := func(file string, err error) error { return &NotReplaceableError{Path: path, File: file, Err: err} }
	link, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	info, followed := os.Stat(path)
	switch {
	case err != nil:
		return refuse("", err)
	case followed != nil && link.Mode()&fs.ModeSymlink != 0:
		return refuse("", errors.New("it is a link that leads nowhere"))
	case !info.IsDir():
		return refuse("", errors.New("it is not a directory"))
	case atomicfile.HoldsCurrent(path):
		return refuse("", errors.New("it is or holds the current directory"))
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return refuse("", err)
	}
	if len(entries) == 0 {
		return nil
	}
	if isProtected(info) {
		return refuse("", errors.New("it is protected against writing"))
	}
	if file, err := foreign(entries); err != nil {
		return refuse(file, err)
	}
	text, err := bounded.ReadFile(filepath.Join(path, configName), maxConfig)
	if err != nil {
		return refuse("", err)
	}
	if named, err := classesIn(text); err != nil || len(named) == 0 {
		return refuse(configName, errors.New("it names no architectures, so this is not a checkpoint"))
	}
	if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return isWeights(e.Name()) }) {
		return refuse("", errors.New("it has no weights, so it is not a checkpoint"))
	}
	return nil
}

// foreign returns the first entry of a directory that is not of a checkpoint, or that is
// not to be replaced, and why.
func foreign(entries []fs.DirEntry) (string, error) {
	for _, e := range entries {
		info, err := e.Info()
		switch {
		case !isWeights(e.Name()) && e.Name() != configName && !isKept(e.Name()):
			return e.Name(), errors.New("no checkpoint has a file of this name")
		case err != nil || !info.Mode().IsRegular():
			return e.Name(), bounded.ErrIrregular
		case isProtected(info):
			return e.Name(), errors.New("it is protected against writing")
		}
	}
	return "", nil
}

// isProtected reports whether nobody may write.
func isProtected(info fs.FileInfo) bool { return info.Mode().Perm()&0o222 == 0 }

// isWeights reports whether a file holds weights of a checkpoint or lists them.
func isWeights(name string) bool {
	shard, _ := filepath.Match("model-*-of-*.safetensors", name)
	return shard || name == safetensors.SingleName || name == safetensors.IndexName
}

// isKept reports whether a file belongs to a checkpoint beside its configuration and its
// weights. The list is closed: files of any other name are somebody's own.
func isKept(name string) bool {
	switch name {
	case "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
		"vocab.txt", "vocab.json", "merges.txt", "vocab.sha256.txt", "chat_template.json",
		"preprocessor_config.json", "processor_config.json", "generation_config.json",
		"modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "README.md":
		return true
	}
	return strings.HasPrefix(name, "LICENSE") && slices.Contains([]string{".txt", ".md"}, filepath.Ext(name))
}
