package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/hub"
	"github.com/otfuse/otfuse/models/modeltest"
)

var hash = strings.Repeat("0123456789", 4)

// alone gives the test a cache of its own and a hub that cannot be reached.
func alone(t *testing.T) (cache string) {
	home := t.TempDir()
	for _, key := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HF_TOKEN",
		"HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"} {
		t.Setenv(key, "")
	}
	t.Setenv("HF_HOME", home)
	t.Setenv("HF_ENDPOINT", "http://127.0.0.1:1")
	return filepath.Join(home, "hub")
}

// checkpoint writes a small model, with files that are not to be downloaded.
func checkpoint(t *testing.T) (dir string, m *models.Model) {
	m, err := modeltest.ViT().Model(1)
	require.NoError(t, err)
	dir = filepath.Join(t.TempDir(), "model")
	require.NoError(t, m.Save(dir))
	m, err = models.Open(dir)
	require.NoError(t, err)
	write(t, filepath.Join(dir, "preprocessor_config.json"), `{"size": 6}`)
	write(t, filepath.Join(dir, "pytorch_model.bin"), "not wanted")
	write(t, filepath.Join(dir, "training_args.json"), "{}")
	return dir, m
}

func write(t *testing.T, path, text string) {
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

// TestCache: what the Python library left in the cache opens without a network, by its
// branch and by its commit, and a local directory of the same name goes before it.
func TestCache(t *testing.T) {
	cache := alone(t)
	dir, m := checkpoint(t)
	folder := filepath.Join(cache, "models--owner--name")
	snapshot := filepath.Join(folder, "snapshots", hash)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(snapshot, 0o755))
	for k, e := range entries {
		blob := filepath.Join(folder, "blobs", fmt.Sprint(k))
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		write(t, blob, string(text))
		require.NoError(t, os.Symlink(filepath.Join("..", "..", "blobs", fmt.Sprint(k)), filepath.Join(snapshot, e.Name())))
	}
	write(t, filepath.Join(folder, "refs", "main"), hash)
	write(t, filepath.Join(folder, "refs", "refs", "pr", "1"), hash)
	t.Chdir(t.TempDir())

	for _, name := range []string{"owner/name", "owner/name@main", "owner/name@refs/pr/1", "owner/name@" + hash} {
		got, err := hub.Dir(t.Context(), name, nil)
		require.NoError(t, err, name)
		require.Equal(t, snapshot, got)
	}
	config, err := hub.Config(t.Context(), "owner/name")
	require.NoError(t, err)
	require.Equal(t, filepath.Join(snapshot, "config.json"), config)
	opened, err := models.Open(snapshot)
	require.NoError(t, err)
	require.Equal(t, m.Params, opened.Params)

	for key, value := range map[string]string{"HF_HUB_CACHE": cache, "HUGGINGFACE_HUB_CACHE": cache} {
		t.Run(key, func(t *testing.T) {
			t.Setenv("HF_HOME", t.TempDir())
			_, err := hub.Dir(t.Context(), "owner/name", nil)
			require.ErrorIs(t, err, hub.ErrUnavailable)
			t.Setenv(key, value)
			_, err = hub.Dir(t.Context(), "owner/name", nil)
			require.NoError(t, err)
		})
	}

	require.NoError(t, os.MkdirAll("owner/name", 0o755))
	got, err := hub.Dir(t.Context(), "owner/name", nil)
	require.NoError(t, err)
	require.Equal(t, "owner/name", got)
	config, err = hub.Config(t.Context(), "owner/name")
	require.NoError(t, err)
	require.Equal(t, filepath.Join("owner", "name", "config.json"), config)
}

// TestPaths: what can be no id is left to who opens it.
func TestPaths(t *testing.T) {
	alone(t)
	for _, name := range []string{"/no/such", "./model", "../model", "a/b/c", "~/model", "a//b", "", "a b/c", "a/b@../x",
		"-out", "a--b/c"} {
		got, err := hub.Dir(t.Context(), name, nil)
		require.NoError(t, err, name)
		require.Equal(t, name, got)
		got, err = hub.Config(t.Context(), name)
		require.NoError(t, err, name)
		require.Equal(t, name, got)
	}
}

// TestUnavailable: one line says what was wanted, why it is not to be had and what to do.
func TestUnavailable(t *testing.T) {
	cache := alone(t)
	for _, name := range []string{"owner/name", "owner/name@v2", "bert-base-uncased"} {
		_, err := hub.Dir(t.Context(), name, nil)
		require.ErrorIs(t, err, hub.ErrUnavailable)
		require.ErrorContains(t, err, "hub: "+name+": not available")
		require.ErrorContains(t, err, cache)
		require.ErrorContains(t, err, "connection refused")
		require.ErrorContains(t, err, "name a directory")
		require.NotContains(t, err.Error(), "\n")
		require.Less(t, len(err.Error()), 400)
	}
	write(t, filepath.Join(cache, "models--owner--name", "refs", "main"), hash)
	write(t, filepath.Join(cache, "models--owner--name", "snapshots", hash, "config.json"), "{}")
	t.Setenv("HF_HUB_OFFLINE", "yes")
	_, err := hub.Dir(t.Context(), "owner/name", nil)
	require.ErrorContains(t, err, "HF_HUB_OFFLINE forbids to fetch it")
	require.ErrorContains(t, err, "neither model.safetensors nor model.safetensors.index.json")
	_, err = hub.Config(t.Context(), "owner/name")
	require.NoError(t, err, "the configuration alone is there")
}

// server is a hub with one repository.
type server struct {
	sync.Mutex
	dir    string
	sha    string
	asked  []string
	tokens map[string]bool
}

func serve(t *testing.T, dir string) *server {
	s := &server{dir: dir, sha: hash, tokens: map[string]bool{}}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	t.Setenv("HF_ENDPOINT", h.URL)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Lock()
	defer s.Unlock()
	s.tokens[r.Header.Get("Authorization")] = true
	name, isFile := strings.CutPrefix(r.URL.Path, "/owner/name/resolve/"+hash+"/")
	switch {
	case isFile:
		if r.Method == http.MethodGet {
			s.asked = append(s.asked, name)
		}
		w.Header().Set("ETag", `"`+fmt.Sprintf("%x", name)+`"`)
		http.ServeFile(w, r, filepath.Join(s.dir, name))
	case strings.HasPrefix(r.URL.Path, "/api/models/owner/name/revision/"):
		type file struct {
			Name string `json:"rfilename"`
		}
		entries, _ := os.ReadDir(s.dir)
		var files []file
		for _, e := range entries {
			files = append(files, file{e.Name()})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"sha": s.sha, "siblings": files})
	default:
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error": "Repository not found"}`))
	}
}

// TestDownload: a checkpoint comes from the hub with the token of the user and without
// files that nothing reads, and is in the cache from then on.
func TestDownload(t *testing.T) {
	cache := alone(t)
	dir, m := checkpoint(t)
	s := serve(t, dir)
	write(t, filepath.Join(filepath.Dir(cache), "token"), "secret\n")
	var told []models.Progress
	got, err := hub.Dir(t.Context(), "owner/name", func(p models.Progress) { told = append(told, p) })
	require.NoError(t, err)
	require.Equal(t, filepath.Join(cache, "models--owner--name", "snapshots", hash), got)
	require.Equal(t, []string{"config.json", "preprocessor_config.json", "model.safetensors"}, s.asked)
	require.Equal(t, map[string]bool{"Bearer secret": true}, s.tokens)
	require.Equal(t, models.Progress{Stage: "downloading", Item: "owner/name/model.safetensors", Done: 2, Total: 3},
		told[2])
	opened, err := models.Open(got)
	require.NoError(t, err)
	require.Equal(t, m.Params, opened.Params)
	require.Contains(t, opened.Files, "preprocessor_config.json")

	t.Setenv("HF_ENDPOINT", "http://127.0.0.1:1")
	again, err := hub.Dir(t.Context(), "owner/name", nil)
	require.NoError(t, err)
	require.Equal(t, got, again)
}

// TestAccompany: weights that the cache has alone get the files beside them, of their own
// commit and once; without a network they are taken as they are.
func TestAccompany(t *testing.T) {
	cache := alone(t)
	dir, _ := checkpoint(t)
	folder := filepath.Join(cache, "models--owner--name")
	snapshot := filepath.Join(folder, "snapshots", hash)
	for _, name := range []string{"config.json", "model.safetensors"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		write(t, filepath.Join(snapshot, name), string(text))
	}
	write(t, filepath.Join(folder, "refs", "main"), hash)
	bare := func() {
		got, err := hub.Dir(t.Context(), "owner/name", nil)
		require.NoError(t, err)
		require.Equal(t, snapshot, got)
		require.NoFileExists(t, filepath.Join(got, "tokenizer.json"))
	}
	bare()
	s := serve(t, dir)
	t.Setenv("HF_HUB_OFFLINE", "1")
	bare()
	require.Empty(t, s.tokens, "nobody was asked")

	t.Setenv("HF_HUB_OFFLINE", "")
	require.NoError(t, os.Remove(filepath.Join(dir, "preprocessor_config.json")))
	bare()
	require.NotEmpty(t, s.tokens)
	require.FileExists(t, filepath.Join(folder, ".no_exist", hash, "tokenizer.json"))
	clear(s.tokens)
	bare()
	require.Empty(t, s.tokens, "it is known that there is none")

	require.NoError(t, os.RemoveAll(filepath.Join(folder, ".no_exist")))
	write(t, filepath.Join(dir, "tokenizer.json"), "{}")
	write(t, filepath.Join(dir, "preprocessor_config.json"), "{}")
	got, err := hub.Dir(t.Context(), "owner/name", nil)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(got, "tokenizer.json"))
	require.Equal(t, []string{"tokenizer.json", "preprocessor_config.json"}, s.asked)
}

// TestTokenizer: the files of a tokenizer come without the weights.
func TestTokenizer(t *testing.T) {
	alone(t)
	dir, _ := checkpoint(t)
	s := serve(t, dir)
	_, err := hub.Tokenizer(t.Context(), "owner/name", nil)
	require.ErrorContains(t, err, "no tokenizer")
	write(t, filepath.Join(dir, "vocab.txt"), "a\n")
	write(t, filepath.Join(dir, "tokenizer_config.json"), "{}")
	got, err := hub.Tokenizer(t.Context(), "owner/name", nil)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(got, "vocab.txt"))
	require.Equal(t, []string{"tokenizer_config.json", "vocab.txt"}, s.asked)
	t.Setenv("HF_ENDPOINT", "http://127.0.0.1:1")
	again, err := hub.Tokenizer(t.Context(), "owner/name", nil)
	require.NoError(t, err)
	require.Equal(t, got, again)
	local, err := hub.Tokenizer(t.Context(), "./vocab.txt", nil)
	require.NoError(t, err)
	require.Equal(t, "./vocab.txt", local)
}

// TestDownloadShards: of weights in shards the index is read, and what the cache has
// already is not fetched again.
func TestDownloadShards(t *testing.T) {
	alone(t)
	dir, m := checkpoint(t)
	single := filepath.Join(dir, "model.safetensors")
	shards := map[string]string{}
	for name := range m.Params {
		shards[name] = "model-00001-of-00001.safetensors"
	}
	text, err := json.Marshal(map[string]any{"weight_map": shards})
	require.NoError(t, err)
	write(t, filepath.Join(dir, "model.safetensors.index.json"), string(text))
	require.NoError(t, os.Rename(single, filepath.Join(dir, "model-00001-of-00001.safetensors")))
	write(t, filepath.Join(dir, "other-00001-of-00001.safetensors"), "of another format")
	s := serve(t, dir)
	config, err := hub.Config(t.Context(), "owner/name@v1")
	require.NoError(t, err)
	require.FileExists(t, config)
	got, err := hub.Dir(t.Context(), "owner/name@v1", nil)
	require.NoError(t, err)
	require.Equal(t, filepath.Dir(config), got)
	require.ElementsMatch(t, []string{"config.json", "model.safetensors.index.json", "preprocessor_config.json",
		"model-00001-of-00001.safetensors"}, s.asked)
	again, err := models.Open(got)
	require.NoError(t, err)
	require.Equal(t, m.Params, again.Params)
}

// TestDownloadRefused: what the hub lacks or denies is named.
func TestDownloadRefused(t *testing.T) {
	cache := alone(t)
	dir, _ := checkpoint(t)
	require.NoError(t, os.Remove(filepath.Join(dir, "model.safetensors")))
	s := serve(t, dir)
	_, err := hub.Dir(t.Context(), "owner/name", nil)
	require.ErrorContains(t, err, "it has neither model.safetensors nor model.safetensors.index.json")
	_, err = hub.Dir(t.Context(), "owner/private", nil)
	require.ErrorIs(t, err, hub.ErrUnavailable)
	require.ErrorContains(t, err, "401: Repository not found (is the id right? one that is private or gated needs "+
		"HF_TOKEN)")
	s.sha = "../../elsewhere"
	_, err = hub.Dir(t.Context(), "owner/name", nil)
	require.ErrorContains(t, err, `the hub names the commit "../../elsewhere"`)
	require.NoDirExists(t, filepath.Join(cache, "elsewhere"))

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = hub.Dir(ended, "owner/name", nil)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, hub.ErrUnavailable)
}
