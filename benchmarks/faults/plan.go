package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/otfuse/otfuse/models"
)

// plan says how many tries are made.
type plan struct {
	kills, pairs int
	seed         uint64
}

// faults is a plan while it runs.
type faults struct {
	plan
	ctx     context.Context
	binary  string
	dir     string // of all tries
	moments *rand.Rand
}

// run makes all tries.
func (p plan) run(ctx context.Context, observe func(row)) ([]row, error) {
	dir, err := os.MkdirTemp("", "faults")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	// Children without rights must be able to start the binary.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	f := &faults{plan: p, ctx: ctx, dir: dir, binary: filepath.Join(dir, "faults"),
		moments: rand.New(rand.NewPCG(p.seed, 0))}
	if err := copySelf(f.binary); err != nil {
		return nil, err
	}
	var rows []row
	for _, part := range []func() (row, error){
		f.killedSaves, f.killedFusions, f.killedTrainings, f.killedDownloads,
		f.pairsOfSaves, f.pairsOfTrainings, f.pairsOfDownloads, f.otherTrainings, f.fullDisks, f.noRights,
	} {
		r, err := part()
		if rows = append(rows, r); err != nil {
			return rows, fmt.Errorf("%s: %w", r.what, err)
		}
		if ctx.Err() != nil {
			return rows, ctx.Err()
		}
		observe(r)
	}
	return rows, nil
}

// copySelf copies the binary of this process.
func copySelf(to string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o755)
}

// place makes a folder for tries.
func (f *faults) place(name string) (string, error) {
	dir := filepath.Join(f.dir, name)
	return dir, os.Mkdir(dir, 0o777)
}

// spawn starts a child.
func (f *faults) spawn(job string, args ...string) (*process, error) {
	return spawn(f.ctx, f.binary, nil, job, args...)
}

// killed starts children that do a job for ever and kills each at a random moment
// within a time; check looks at what is there.
func (f *faults) killed(r *row, tries int, within time.Duration, job []string, check func() (verdict, string)) error {
	for range tries {
		p, err := f.spawn(job[0], job[1:]...)
		if err != nil {
			return err
		}
		p.killAfter(time.Duration(f.moments.Int64N(int64(within))))
		r.add(check())
	}
	return nil
}

// pair runs two children with the same job and returns what they said.
func (f *faults) pair(rights *syscall.SysProcAttr, job string, args ...string) (said [2]string, v verdict, err error) {
	var both [2]*process
	for k := range both {
		if both[k], err = spawn(f.ctx, f.binary, rights, job, args...); err != nil {
			return said, wrong, err
		}
	}
	for k, p := range both {
		s, one := p.wait()
		if said[k] = s; one != good {
			v = one
		}
	}
	return said, v, nil
}

// digest tells models apart.
func digest(m *models.Model) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(m.Params)) {
		fmt.Fprint(h, name)
		_ = binary.Write(h, binary.LittleEndian, m.Params[name].Data) // a hash takes everything
	}
	return string(h.Sum(nil))
}

// oneOf looks at a checkpoint, which must be one of the wanted models as a whole.
func oneOf(dir string, want ...*models.Model) (verdict, string) {
	m, err := models.Open(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !exists(dir):
		return lost, err.Error()
	case err != nil:
		return torn, err.Error()
	case !slices.ContainsFunc(want, func(w *models.Model) bool { return digest(w) == digest(m) }):
		return torn, "the checkpoint is none of those that were saved"
	}
	return good, ""
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// leftOver lists what lies in a folder besides what is expected.
func leftOver(dir string, expected ...string) []string {
	entries, _ := os.ReadDir(dir) // a folder that is gone holds nothing
	var out []string
	for _, e := range entries {
		if !slices.Contains(expected, e.Name()) {
			out = append(out, e.Name())
		}
	}
	return out
}

// sayAll joins what children said.
func sayAll(said [2]string) string { return strings.TrimSpace(said[0] + " " + said[1]) }
