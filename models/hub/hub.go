package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/models"
)

const configName = "config.json"

// ErrUnavailable reports a name that is neither a local path nor in the cache and
// that the hub did not give.
var ErrUnavailable = errors.New("not available")

// Dir returns the directory of a checkpoint: the name itself where such a path
// exists or the name can be no id; else the directory in the cache; else that of a
// download. Of the files of a repository it takes config.json, the safetensors, and
// those of the tokenizer and the image processor, and no others. What the cache holds is
// not compared with the hub: name another revision for that. Where it has weights alone,
// the files beside them are fetched too if the hub can be asked.
//
// A nil observe is allowed. The error is [ErrUnavailable] where the checkpoint cannot be
// had, and says why.
func Dir(ctx context.Context, name string, observe func(models.Progress)) (string, error) {
	i, local := resolve(name)
	if local {
		return name, nil
	}
	dir, err := i.find(ctx, complete, func(r *repository) error { return r.checkpoint(ctx, observe) })
	if err == nil {
		err = i.accompany(ctx, dir, observe)
	}
	if err != nil {
		return "", fmt.Errorf("hub: %w", err)
	}
	return dir, nil
}

// Tokenizer returns the directory of the tokenizer of a checkpoint, as [Dir] does for all
// of it, or the name itself where it is a local path.
func Tokenizer(ctx context.Context, name string, observe func(models.Progress)) (string, error) {
	i, local := resolve(name)
	if local {
		return name, nil
	}
	dir, err := i.find(ctx, hasTokenizer, func(r *repository) error {
		files := r.among(tokenizerFiles())
		if len(files) == 0 {
			return errors.New("it has no tokenizer")
		}
		return r.downloadAll(ctx, files, observe)
	})
	if err != nil {
		return "", fmt.Errorf("hub: %w", err)
	}
	return dir, nil
}

// Config returns the path of the config.json of a checkpoint, as [Dir] does for all of
// it. Where the name is a local directory, it is that of the file in it; where it is a
// file, the name itself.
func Config(ctx context.Context, name string) (string, error) {
	i, local := resolve(name)
	if local {
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			return filepath.Join(name, configName), nil
		}
		return name, nil
	}
	configured := func(dir string) error {
		_, err := os.Stat(filepath.Join(dir, configName))
		return err
	}
	dir, err := i.find(ctx, configured, func(r *repository) error { return r.download(ctx, configName) })
	if err != nil {
		return "", fmt.Errorf("hub: %w", err)
	}
	return filepath.Join(dir, configName), nil
}

// resolve returns the id that a name is, or true where it is a path.
func resolve(name string) (i id, local bool) {
	if _, err := os.Lstat(name); err == nil {
		return id{}, true
	}
	i, ok := parse(name)
	return i, !ok
}
