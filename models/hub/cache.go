package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/models/safetensors"
)

// An id names a checkpoint on the hub.
type id struct {
	repository string // owner/name, or a name alone
	revision   string // a branch, a tag or a commit
}

const defaultRevision = "main"

func (i id) String() string {
	if i.revision == defaultRevision {
		return i.repository
	}
	return i.repository + "@" + i.revision
}

// parse splits a name into repository and revision. It reports false where the name
// can only be a path.
func parse(name string) (id, bool) {
	repository, revision, pinned := strings.Cut(name, "@")
	if !pinned {
		revision = defaultRevision
	}
	plain := regexp.MustCompile(`^\w[\w.-]*(/\w[\w.-]*)?$`)
	branch := regexp.MustCompile(`^\w[\w.-]*(/\w[\w.-]*)*$`) // such as refs/pr/1
	ok := plain.MatchString(repository) && branch.MatchString(revision) &&
		!strings.Contains(name, "..") && !strings.Contains(repository, "--")
	return id{repository, revision}, ok
}

// commit matches the hash of a commit.
var commit = regexp.MustCompile(`^[0-9a-f]{40}$`)

// folder returns where the cache keeps a repository.
func (i id) folder() string {
	return filepath.Join(cacheDir(), "models--"+strings.ReplaceAll(i.repository, "/", "--"))
}

// reference is the file that holds the commit of the revision.
func (i id) reference() string {
	return filepath.Join(i.folder(), "refs", filepath.FromSlash(i.revision))
}

// cached returns the directory of the revision in the cache. The error is
// [fs.ErrNotExist] where the cache lacks it.
func (i id) cached() (string, error) {
	hash := i.revision
	if text, err := os.ReadFile(i.reference()); err == nil {
		hash = strings.TrimSpace(string(text))
	}
	if !commit.MatchString(hash) {
		return "", fmt.Errorf("%s: %w", i.reference(), fs.ErrNotExist)
	}
	dir := filepath.Join(i.folder(), "snapshots", hash)
	_, err := os.Stat(dir)
	return dir, err
}

// complete returns nil where a directory holds a config.json and all weights, and
// what is missing otherwise.
func complete(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, configName)); err != nil {
		return err
	}
	files, err := safetensors.OpenDir(dir)
	if err != nil {
		return err
	}
	return files.Close()
}

// hasTokenizer returns nil where a directory holds a tokenizer.
func hasTokenizer(dir string) error {
	for _, name := range []string{"tokenizer.json", "vocab.txt", "vocab.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s has no tokenizer: %w", dir, fs.ErrNotExist)
}

// isBare reports whether a snapshot has neither a tokenizer nor an image processor, and it
// is not known that the repository has none.
func (i id) isBare(dir string) bool {
	_, image := os.Stat(filepath.Join(dir, "preprocessor_config.json"))
	_, known := os.Stat(i.absent(filepath.Base(dir), "tokenizer.json"))
	return hasTokenizer(dir) != nil && image != nil && known != nil
}

// absent is the file by which the Python library and this one note that a commit does not
// have a file.
func (i id) absent(hash, name string) string {
	return filepath.Join(i.folder(), ".no_exist", hash, name)
}

// noteAbsent notes which files of tokenizers and image processors there are not.
func (r *repository) noteAbsent() error {
	for _, name := range sideFiles() {
		if slices.Contains(r.names, name) {
			continue
		}
		path := r.id.absent(r.repo.Info().CommitHash, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// cacheDir returns the directory of the cache, by the rules of the Python library.
func cacheDir() string {
	for _, key := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"} {
		if dir := os.Getenv(key); dir != "" {
			return expanded(dir)
		}
	}
	return filepath.Join(home(), "hub")
}

// home returns the directory of all that belongs to the hub.
func home() string {
	if dir := os.Getenv("HF_HOME"); dir != "" {
		return expanded(dir)
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(expanded(dir), "huggingface")
	}
	return expanded("~/.cache/huggingface")
}

// expanded replaces a leading ~ by the home directory of the user.
func expanded(path string) string {
	rest, ok := strings.CutPrefix(path, "~")
	if user, err := os.UserHomeDir(); ok && err == nil {
		return filepath.Join(user, rest)
	}
	return path
}

// token returns the token of the user, or "" where there is none.
func token() (string, error) {
	for _, key := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"} {
		if t := strings.TrimSpace(os.Getenv(key)); t != "" {
			return t, nil
		}
	}
	if isTrue("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
		return "", nil
	}
	path := filepath.Join(home(), "token")
	if p := os.Getenv("HF_TOKEN_PATH"); p != "" {
		path = expanded(p)
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// isTrue reports whether an environment variable is set to yes.
func isTrue(key string) bool {
	return slices.Contains([]string{"1", "ON", "YES", "TRUE"}, strings.ToUpper(os.Getenv(key)))
}
