package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomlx/go-huggingface/hub"

	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/safetensors"
)

// sideFiles are what is downloaded beside config.json and the weights: the files of
// tokenizers and image processors.
func sideFiles() []string {
	return []string{"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
		"vocab.txt", "vocab.json", "merges.txt", "preprocessor_config.json", "processor_config.json"}
}

// tokenizerFiles are those of sideFiles that a tokenizer is read from.
func tokenizerFiles() []string { return sideFiles()[:7] }

// find returns the directory of a revision of which suits reports nothing: that in the
// cache, or the one that get leaves there.
func (i id) find(ctx context.Context, suits func(dir string) error, get func(*repository) error) (string, error) {
	dir, missing := i.cached()
	if missing == nil {
		missing = suits(dir)
	}
	if missing == nil {
		return dir, nil
	}
	if key := offline(); key != "" {
		return "", i.unavailable(fmt.Errorf("%s forbids to fetch it (%w)", key, missing))
	}
	r, err := i.open(ctx)
	if err == nil {
		err = get(r)
	}
	if err == nil {
		err = r.keepReference()
	}
	if err == nil {
		dir, err = i.cached()
	}
	switch {
	case err == nil:
		return dir, suits(dir)
	case ctx.Err() != nil:
		return "", ctx.Err()
	}
	return "", i.unavailable(err)
}

// offline returns the environment variable that forbids to ask the hub, "" where none does.
func offline() string {
	for _, key := range []string{"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"} {
		if isTrue(key) {
			return key
		}
	}
	return ""
}

// accompany fetches what belongs beside the weights of a checkpoint that the cache has
// without it, as others leave it who load a network alone. They are of the same commit. A
// hub that cannot be asked is no error: the network can be opened without.
func (i id) accompany(ctx context.Context, dir string, observe func(models.Progress)) error {
	if !i.isBare(dir) || offline() != "" {
		return nil
	}
	r, err := id{i.repository, filepath.Base(dir)}.open(ctx)
	if err == nil {
		err = r.downloadAll(ctx, r.among(sideFiles()), observe)
	}
	if err == nil {
		_ = r.noteAbsent() // else it is asked again
	}
	return ctx.Err()
}

// unavailable says what was wanted, why it cannot be had and what to do.
func (i id) unavailable(err error) error {
	return fmt.Errorf("%s: %w: no such directory, not in the cache %s, and from the hub: %w; name a directory, or fetch "+
		"it into the cache where there is a network (hf download %s)", i, ErrUnavailable, cacheDir(), err, i.repository)
}

// A repository is what the hub has of an id.
type repository struct {
	id    id
	repo  *hub.Repo
	names []string // of its files
}

// open asks the hub for the files of the revision.
func (i id) open(ctx context.Context) (*repository, error) {
	auth, err := token()
	if err != nil {
		return nil, fmt.Errorf("the token: %w", err)
	}
	r := &repository{id: i, repo: hub.New(i.repository).WithAuth(auth).WithCacheDir(cacheDir()).
		WithRevision(url.PathEscape(i.revision)).WithProgressBar(false)}
	r.repo.Verbosity = 0
	asked := make(chan error, 1)
	go func() { asked <- r.repo.DownloadInfo(true) }() // it takes no context
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case err := <-asked:
		if err != nil {
			return nil, cause(err)
		}
	}
	hash := r.repo.Info().CommitHash
	if !commit.MatchString(hash) {
		return nil, fmt.Errorf("the hub names the commit %q", hash)
	}
	r.repo.WithRevision(hash) // all files are of one commit, whatever is pushed meanwhile
	for name, err := range r.repo.IterFileNames() {
		if err != nil {
			return nil, cause(err)
		}
		r.names = append(r.names, name)
	}
	return r, nil
}

// checkpoint downloads all that belongs to a checkpoint, the small files first.
func (r *repository) checkpoint(ctx context.Context, observe func(models.Progress)) error {
	weights, err := r.weights(ctx)
	if err != nil {
		return err
	}
	return r.downloadAll(ctx, slices.Concat([]string{configName}, r.among(sideFiles()), weights), observe)
}

// among returns those of some files that the repository has.
func (r *repository) among(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return !slices.Contains(r.names, name) })
}

// downloadAll brings files into the cache, in their order.
func (r *repository) downloadAll(ctx context.Context, files []string, observe func(models.Progress)) error {
	for k, name := range files {
		if observe != nil {
			observe(models.Progress{Stage: "downloading", Item: r.id.String() + "/" + name, Done: k, Total: len(files)})
		}
		if err := r.download(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// weights lists the files of the weights: a single one, or an index and its shards.
func (r *repository) weights(ctx context.Context) ([]string, error) {
	if slices.Contains(r.names, safetensors.SingleName) {
		return []string{safetensors.SingleName}, nil
	}
	if !slices.Contains(r.names, safetensors.IndexName) {
		return nil, fmt.Errorf("it has neither %s nor %s", safetensors.SingleName, safetensors.IndexName)
	}
	if err := r.download(ctx, safetensors.IndexName); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(r.id.folder(), "snapshots", r.repo.Info().CommitHash, safetensors.IndexName))
	if err != nil {
		return nil, err
	}
	var index struct {
		Shards map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return nil, fmt.Errorf("%s: %w", safetensors.IndexName, err)
	}
	files := append(r.among(slices.Collect(maps.Values(index.Shards))), safetensors.IndexName)
	slices.Sort(files)
	return slices.Compact(files), nil
}

// download brings a file of the repository into the cache.
func (r *repository) download(ctx context.Context, name string) error {
	if !slices.Contains(r.names, name) {
		return fmt.Errorf("it has no %s", name)
	}
	if _, err := r.repo.DownloadFilesCtx(ctx, name); err != nil {
		return fmt.Errorf("%s: %w", name, cause(err))
	}
	return nil
}

// keepReference notes the commit of the revision where the Python library does, so that
// both find it without a network.
func (r *repository) keepReference() error {
	if r.id.revision == r.repo.Info().CommitHash {
		return nil
	}
	return atomicfile.WriteFile(r.id.reference(), func(w io.Writer) error {
		_, err := io.WriteString(w, r.repo.Info().CommitHash)
		return err
	})
}

// cause returns the error that is at the bottom of a failed download, with what is to be
// done about it.
func cause(err error) error {
	var network *net.OpError
	var request *url.Error
	switch {
	case errors.As(err, &network):
		return network
	case errors.As(err, &request):
		return request.Err
	}
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	for _, status := range []string{"401", "403", "404"} {
		if strings.Contains(err.Error(), "status code "+status) {
			return fmt.Errorf("%w (is the id right? one that is private or gated needs HF_TOKEN)", err)
		}
	}
	return err
}
