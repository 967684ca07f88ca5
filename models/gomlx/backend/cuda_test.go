//go:build cgo && !noxla && linux && (amd64 || arm64)

package backend

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/go-xla/compute/xla"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
)

// fakePlaces are places with device files for GPUs and a driver's file of the given
// text; empty for none.
func fakePlaces(t *testing.T, gpus int, driver string) places {
	dir := t.TempDir()
	for i := range gpus {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "nvidia"+string(rune('0'+i))), nil, 0o644))
	}
	p := places{deviceFiles: filepath.Join(dir, "nvidia[0-9]*"), driverFile: filepath.Join(dir, "version"),
		cache: filepath.Join(dir, "cache")}
	if driver != "" {
		require.NoError(t, os.WriteFile(p.driverFile, []byte(driver), 0o644))
	}
	return p
}

// fakePrograms makes shell scripts the only programs in the path.
func fakePrograms(t *testing.T, scripts map[string]string) {
	dir := t.TempDir()
	for name, lines := range scripts {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+lines+"\n"), 0o755))
	}
	t.Setenv("PATH", dir)
	t.Setenv("VIRTUAL_ENV", "")
}

const (
	openDriver = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (root@host)\n"
	oldDriver  = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n"
)

func TestSeeNvidia(t *testing.T) {
	for name, c := range map[string]struct {
		gpus   int
		driver string
		smi    string
		want   string // of the reason; empty for none
	}{
		"nothing":                {0, "", "exit 127", "no NVIDIA GPU is seen"},
		"a driver without cards": {0, openDriver, "echo No devices were found; exit 6", "no NVIDIA GPU is seen"},
		"device files alone":     {2, "", "exit 9", ""},
		"files and driver":       {1, openDriver, "exit 9", ""},
		"old driver":             {1, oldDriver, "exit 9", "the NVIDIA driver 535.183.01 is too old: CUDA 13 needs 580"},
		"nvidia-smi alone":       {0, "", "echo NVIDIA GeForce RTX 4090, 581.29, 24564, 23028", ""},
		"nvidia-smi, old driver": {0, "", "echo Tesla T4, 470.57.02, 15109, 15000", "470.57.02 is too old"},
		"full": {1, openDriver, "echo RTX 4090, 580.65.06, 24564, 12; echo RTX 3060, 580.65.06, 12288, 512",
			"512 of 12288 MiB on the RTX 3060"},
		"one of two is free": {1, openDriver,
			"echo RTX 4090, 580.65.06, 24564, 12; echo RTX 3060, 580.65.06, 12288, 9000", ""},
		"shared memory": {1, openDriver, "echo GB10, 580.65.06, [N/A], [N/A]", ""},
	} {
		t.Run(name, func(t *testing.T) {
			fakePrograms(t, map[string]string{"nvidia-smi": c.smi})
			err := seeNvidia(t.Context(), fakePlaces(t, c.gpus, c.driver)).check()
			if c.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.want)
			}
		})
	}
}

// testSet is a set of two wheels, a plugin and a library, and the shell lines of a
// python3 that fetches them.
func testSet(t *testing.T) (set wheelSet, pip string) {
	plugin := writeWheel(t, map[string]string{"jax_plugins/x/p.so": pluginText, "p.dist-info/RECORD": "for pip"})
	library := writeWheel(t, map[string]string{"nvidia/cu13/lib/libcudart.so.13": "a library",
		"nvidia/cu13/include/cuda.h": "a header", "nvidia/cu13/lib/libcudart_static.a": "an archive"})
	set = wheelSet{name: "set", what: "a set", plugin: "jax_plugins/x/p.so", sha256: sumOf(pluginText)}
	pip = "for dest; do :; done\n"
	for name, path := range map[string]string{"one": plugin, "two": library} {
		sum, err := fileSHA256(path)
		require.NoError(t, err)
		set.wheels = append(set.wheels, pinnedWheel{name + "==1", sum, 1000})
		pip += "if read line <requirements.txt && [ \"${line%%==*}\" = " + name + " ]; then /bin/cp '" + path +
			"' \"$dest\"; fi\n"
	}
	return set, pip
}

// fetching is a search that may fetch.
func fetching(t *testing.T) *search {
	return &search{places: fakePlaces(t, 1, openDriver), rule: fetchYes, observe: func(models.Progress) {}}
}

func TestFetchSet(t *testing.T) {
	set, pip := testSet(t)
	fakePrograms(t, map[string]string{"python3": pip})
	s := fetching(t)
	dir, err := s.fetchedSet(t.Context(), set)
	require.NoError(t, err)
	var found []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if !entry.IsDir() {
			found = append(found, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	}))
	assert.ElementsMatch(t, []string{set.plugin, "nvidia/cu13/lib/libcudart.so.13", recordName}, found)

	t.Run("is not fetched again", func(t *testing.T) {
		fakePrograms(t, nil)
		again, err := s.fetchedSet(t.Context(), set)
		require.NoError(t, err)
		assert.Equal(t, dir, again)
	})
	t.Run("a library that changed is refused", func(t *testing.T) {
		library := filepath.Join(dir, "nvidia/cu13/lib/libcudart.so.13")
		require.NoError(t, os.WriteFile(library, []byte("b library"), 0o755))
		_, err := s.fetchedSet(t.Context(), set)
		require.ErrorIs(t, err, errChanged)
	})
	t.Run("a plugin that changed is refused, though size and time are the same", func(t *testing.T) {
		path := filepath.Join(dir, set.plugin)
		info, err := os.Stat(path)
		require.NoError(t, err)
		library := filepath.Join(dir, "nvidia/cu13/lib/libcudart.so.13")
		require.NoError(t, os.WriteFile(library, []byte("a library"), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(strings.ToUpper(pluginText)), 0o755))
		require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
		_, err = s.fetchedSet(t.Context(), set)
		require.ErrorIs(t, err, errChanged)
	})
}

// TestFetchSetResumes: what was unpacked before a fetch broke off is not fetched again.
func TestFetchSetResumes(t *testing.T) {
	set, pip := testSet(t)
	first, _, _ := strings.Cut(set.wheels[0].requirement, "==")
	fakePrograms(t, map[string]string{"python3": pip +
		`[ "${line%%==*}" = ` + first + ` ] || { echo the line broke >&2; exit 1; }`})
	s := fetching(t)
	_, err := s.fetchedSet(t.Context(), set)
	require.ErrorContains(t, err, "the line broke")
	fakePrograms(t, map[string]string{"python3": `read line <requirements.txt
[ "${line%%==*}" != ` + first + " ] || exit 1\n" + pip})
	_, err = s.fetchedSet(t.Context(), set)
	require.NoError(t, err)
}

func TestFetchSetRefusesPaths(t *testing.T) {
	path := writeWheel(t, map[string]string{"../outside": "x"})
	sum, err := fileSHA256(path)
	require.NoError(t, err)
	set := wheelSet{name: "set", sha256: sumOf(pluginText), wheels: []pinnedWheel{{"one==1", sum, 10}}}
	fakePrograms(t, map[string]string{"python3": "for dest; do :; done\n/bin/cp '" + path + "' \"$dest\""})
	_, err = fetching(t).fetchedSet(t.Context(), set)
	require.ErrorContains(t, err, `"../outside" leads out of the folder`)
}

// TestAllowed: who may fetch what.
func TestAllowed(t *testing.T) {
	small := Download{What: "it", Bytes: 1, Needs: 2, Free: 9}
	large := Download{What: "it", Bytes: 2e9, Needs: 5e9, Free: 9e9}
	yes := func(context.Context, Download) bool { return true }
	no := func(context.Context, Download) bool { return false }
	for name, c := range map[string]struct {
		s    search
		d    Download
		want string
	}{
		"small by default":          {search{}, small, ""},
		"large by default":          {search{}, large, "$OTFUSE_FETCH=yes fetches it"},
		"large, a user who agrees":  {search{allow: yes}, large, ""},
		"large, a user who doesn't": {search{allow: no}, large, "not fetched"},
		"small, asked":              {search{rule: fetchAsk, allow: no}, small, "not fetched"},
		"large, yes":                {search{rule: fetchYes}, large, ""},
		"small, no":                 {search{rule: fetchNo, allow: yes}, small, "forbids"},
		"full disk": {search{rule: fetchYes},
			Download{What: "it", Bytes: 1, Needs: 5e9, Free: 4e9}, "needs 5000 MB"},
		"unknown disk": {search{rule: fetchYes}, Download{What: "it", Bytes: 1, Needs: 5e9, Free: -1}, ""},
		"a look":       {search{rule: fetchYes, listing: true}, small, "not fetched yet"},
	} {
		err := c.s.allowed(t.Context(), c.d)
		if c.want == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, c.want, name)
		}
	}
	t.Setenv(xla.NoAutoInstallEnv, "")
	require.ErrorContains(t, (&search{rule: fetchYes}).allowed(t.Context(), small), xla.NoAutoInstallEnv)
}

func TestFetchRule(t *testing.T) {
	t.Setenv(FetchVariable, "maybe")
	_, err := Open(t.Context(), nil)
	require.ErrorContains(t, err, `$OTFUSE_FETCH is "maybe", want yes, no or ask`)
}

// TestJAXPlugin: the plugin of a Python is found without importing anything, and no
// module of the user's folder is seen.
func TestJAXPlugin(t *testing.T) {
	site := t.TempDir()
	path := filepath.Join(site, "jax_plugins", "xla_cuda13", "xla_cuda_plugin.so")
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(pluginText), 0o644))
	fakePrograms(t, map[string]string{"python3": `[ "$1" = -I ] && [ "$(/bin/ls)" = "" ] &&
		echo '{"plugins": ["/nowhere", "` + site + `/jax_plugins"], "nvidia": ["` + site + `/nvidia"]}'`})
	plugin, libraries, err := jaxPlugin(t.Context())
	require.NoError(t, err)
	assert.Equal(t, path, plugin)
	assert.Equal(t, site+"/nvidia", libraries)

	fakePrograms(t, map[string]string{"python3": "echo '{}'"})
	_, _, err = jaxPlugin(t.Context())
	require.ErrorAs(t, err, new(absentError))
	fakePrograms(t, nil)
	_, _, err = jaxPlugin(t.Context())
	require.ErrorAs(t, err, new(absentError))
}

// TestJAXPluginOfPython asks the Python of this machine, which need not have JAX.
func TestJAXPluginOfPython(t *testing.T) {
	if _, err := interpreter(); err != nil {
		t.Skipf("no Python: %v", err)
	}
	folder := t.TempDir()
	trap := []byte("raise SystemExit('ran a file of the user')")
	require.NoError(t, os.WriteFile(filepath.Join(folder, "json.py"), trap, 0o644))
	t.Chdir(folder)
	t.Setenv("PYTHONPATH", folder)
	if _, _, err := jaxPlugin(t.Context()); err != nil {
		require.ErrorContains(t, err, "Python has no JAX for CUDA")
	}
}

// TestGPUNotUsed: where there is a GPU and CUDA cannot be had, one line says why.
func TestGPUNotUsed(t *testing.T) {
	fakePrograms(t, nil)
	for name, c := range map[string]struct{ driver, want string }{
		"old driver": {oldDriver, "NOTICE: the GPU is not used: CUDA: the NVIDIA driver 535.183.01 is too old"},
		"not fetched": {openDriver,
			"NOTICE: the GPU is not used: CUDA plugin fetched by this library: XLA's plugin for CUDA 13"},
	} {
		t.Run(name, func(t *testing.T) {
			var told lines
			s := &search{places: fakePlaces(t, 1, c.driver), observe: told.add}
			s.rule = fetchNo
			b, verdicts, err := s.choose(t.Context())
			require.NoError(t, err)
			b.Finalize()
			require.NotEmpty(t, told.said)
			assert.Equal(t, 1, strings.Count("\n"+strings.Join(told.said, "\n"), "\nNOTICE: the GPU is not used: "))
			assert.Contains(t, strings.Join(told.said, "\n"), c.want)
			assert.True(t, slices.ContainsFunc(verdicts, func(c Candidate) bool { return c.Taken }), "%v", verdicts)
		})
	}
}

// TestCUDAInsists: a request for CUDA alone never takes another backend.
func TestCUDAInsists(t *testing.T) {
	fakePrograms(t, nil)
	s := &search{config: "xla:cuda", places: fakePlaces(t, 0, ""), observe: func(models.Progress) {}}
	b, verdicts, err := s.choose(t.Context())
	require.ErrorContains(t, err, "XLA: ")
	assert.Nil(t, b)
	for _, v := range verdicts {
		assert.Contains(t, v.Name, "CUDA")
		assert.False(t, v.Taken)
	}
	assert.Len(t, verdicts, 2)
}

func TestParse(t *testing.T) {
	for config, want := range map[string]request{
		"":                    {orGo: true},
		"go":                  {exact: sequentialGo},
		"xla":                 {},
		"xla:":                {},
		"xla:cpu":             {kind: cpuPlugin},
		"xla:cuda,tf32=true,": {kind: cudaPlugin, options: ",tf32=true,"},
		"xla:/a/b.so,x=1":     {exact: "xla:/a/b.so,x=1"},
		"abacus":              {exact: "abacus"},
	} {
		assert.Equal(t, want, parse(config), config)
	}
}

// fetchForTest, when it names a folder, has TestRealCUDA fetch 2 GB into it.
const fetchForTest = "OTFUSE_TEST_CUDA"

// TestRealCUDA fetches the real wheels and opens their plugin. Where there is no GPU
// the plugin must say so.
func TestRealCUDA(t *testing.T) {
	dir := os.Getenv(fetchForTest)
	if dir == "" {
		t.Skipf("SKIPPED: $%s names no folder into which to fetch 2 GB of CUDA", fetchForTest)
	}
	var told lines
	s := &search{config: "xla:cuda", rule: fetchYes, observe: told.add,
		places: places{deviceFiles: "/dev/nvidia[0-9]*", cache: dir}}
	b, _, err := s.choose(t.Context())
	for _, line := range told.said {
		t.Log(line)
	}
	if seeNvidia(t.Context(), systemPlaces()).check() == nil {
		require.NoError(t, err)
		t.Log(b.Description())
		b.Finalize()
		return
	}
	require.ErrorContains(t, err, "No visible GPU devices")
	t.Log(err)
}
