package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/otfuse/otfuse/models"
)

// killedSaves kills a process that saves one model after the other.
func (f *faults) killedSaves() (row, error) {
	r := row{what: "killed while a model is saved"}
	all := []*models.Model{generation(0), generation(1), generation(2)}
	return f.killedAt(r, 2*f.kills/5, "save for ever", all...)
}

// killedFusions kills a process that fuses and saves.
func (f *faults) killedFusions() (row, error) {
	r := row{what: "killed while models are fused"}
	want, err := fused()
	if err != nil {
		return r, err
	}
	return f.killedAt(r, f.kills/5, "fuse for ever", want, generation(1))
}

// killedAt kills a process that replaces a checkpoint. A clean save follows, after
// which nothing else may lie there.
func (f *faults) killedAt(r row, tries int, job string, want ...*models.Model) (row, error) {
	dir, err := f.place(strings.ReplaceAll(job, " ", "-"))
	if err != nil {
		return r, err
	}
	out := filepath.Join(dir, "out")
	if err := generation(1).Save(out); err != nil {
		return r, err
	}
	check := func() (verdict, string) { return oneOf(out, want...) }
	if err := f.killed(&r, tries, 30*time.Millisecond, []string{job, out}, check); err != nil {
		return r, err
	}
	err = generation(1).Save(out)
	r.leak(leftOver(dir, "out"))
	return r, err
}

// killedTrainings kills trainings and resumes them until they end, with the bits of
// one that was not killed.
func (f *faults) killedTrainings() (row, error) {
	r := row{what: "killed while training, resumed to the end"}
	want, err := f.trained("unbroken", 1)
	if err != nil {
		return r, err
	}
	for k := 0; r.tries < f.kills/5; k++ {
		dir, err := f.place(fmt.Sprint("train", k))
		if err != nil {
			return r, err
		}
		for range 6 {
			p, err := f.spawn("train", dir, "1")
			if err != nil {
				return r, err
			}
			p.killAfter(time.Duration(f.moments.Int64N(int64(400 * time.Millisecond))))
			r.add(good, "")
			if exists(filepath.Join(dir, "out")) {
				break
			}
		}
		p, err := f.spawn("train", dir, "1")
		if err != nil {
			return r, err
		}
		said, v := p.wait()
		if v == good {
			v, said = oneOf(filepath.Join(dir, "out"), want)
		}
		r.add(v, said)
		r.leak(leftOver(dir, "out"))
	}
	return r, nil
}

// trained returns what a training without interruption makes.
func (f *faults) trained(name string, seed int) (*models.Model, error) {
	dir, err := f.place(name)
	if err != nil {
		return nil, err
	}
	p, err := f.spawn("train", dir, fmt.Sprint(seed))
	if err != nil {
		return nil, err
	}
	if said, v := p.wait(); v != good || said != "" {
		return nil, fmt.Errorf("the training fails: %s %s", v, said)
	}
	return models.Open(filepath.Join(dir, "out"))
}

// pairsOfSaves lets two processes save to one place.
func (f *faults) pairsOfSaves() (row, error) {
	r := row{what: "two processes save to one place"}
	dir, err := f.place("pairs")
	if err != nil {
		return r, err
	}
	out := filepath.Join(dir, "out")
	for range f.pairs {
		said, v, err := f.pair(nil, "save", out, "0")
		if err != nil {
			return r, err
		}
		note := sayAll(said)
		if v == good && note == "" {
			v, note = oneOf(out, generation(1))
		} else if v == good {
			v = wrong
		}
		r.add(v, note)
	}
	err = generation(1).Save(out)
	r.leak(leftOver(dir, "out"))
	return r, err
}

// pairsOfTrainings lets two processes train in one place: one is refused, and the
// other ends as if it were alone.
func (f *faults) pairsOfTrainings() (row, error) {
	r := row{what: "two trainings in one place"}
	want, err := f.trained("alone", 2)
	if err != nil {
		return r, err
	}
	for k := range f.pairs {
		dir, err := f.place(fmt.Sprint("trainings", k))
		if err != nil {
			return r, err
		}
		said, v, err := f.pair(nil, "train", dir, "2")
		if err != nil {
			return r, err
		}
		note := sayAll(said)
		if v == good {
			refused := strings.Count(note, "another process is training with")
			if v, note = oneOf(filepath.Join(dir, "out"), want); refused > 1 {
				v, note = wrong, "both are refused"
			}
		}
		r.add(v, note)
		r.leak(leftOver(dir, "out"))
	}
	return r, nil
}

// otherTrainings interrupts a training and goes on as one of another seed, which must
// be refused by name.
func (f *faults) otherTrainings() (row, error) {
	r := row{what: "a training goes on as another one"}
	for k := range max(f.pairs/4, 1) {
		dir, err := f.place(fmt.Sprint("other", k))
		if err != nil {
			return r, err
		}
		p, err := f.spawn("train", dir, "3")
		if err != nil {
			return r, err
		}
		for tries := 0; !exists(filepath.Join(dir, "state")) && tries < 1000; tries++ {
			time.Sleep(5 * time.Millisecond)
		}
		p.killAfter(0)
		if p, err = f.spawn("train", dir, "4"); err != nil {
			return r, err
		}
		said, v := p.wait()
		finished := exists(filepath.Join(dir, "out")) // before the kill
		if v == good && !finished && !(strings.Contains(said, "seed 3") && strings.Contains(said, "seed 4")) {
			v = wrong
		}
		r.add(v, said)
	}
	return r, nil
}

// fullDisks saves over a checkpoint where the disk ends at any byte: the old one
// stays, and the process says so.
func (f *faults) fullDisks() (row, error) {
	r := row{what: "the disk is full"}
	dir, err := f.place("full")
	if err != nil {
		return r, err
	}
	out := filepath.Join(dir, "out")
	if err := generation(0).Save(out); err != nil {
		return r, err
	}
	info, err := os.Stat(filepath.Join(out, "model.safetensors"))
	if err != nil {
		return r, err
	}
	for range max(f.pairs, 1) {
		p, err := f.spawn("save", out, fmt.Sprint(1+f.moments.Int64N(info.Size()-1)))
		if err != nil {
			return r, err
		}
		said, v := p.wait()
		if v == good && said == "" {
			v, said = wrong, "the save succeeds"
		} else if v == good {
			v, said = oneOf(out, generation(0))
		}
		r.add(v, said)
		r.leak(leftOver(dir, "out"))
	}
	return r, nil
}

// noRights saves without the right to write there.
func (f *faults) noRights() (row, error) {
	r := row{what: "the right to write is taken away"}
	dir, err := f.place("rights")
	if err != nil {
		return r, err
	}
	out := filepath.Join(dir, "out")
	if err := generation(0).Save(out); err != nil {
		return r, err
	}
	if err := os.Chmod(dir, 0o555); err != nil {
		return r, err
	}
	defer func() { _ = os.Chmod(dir, 0o755) }() // so that it can be removed
	for range max(f.pairs/2, 1) {
		said, v, err := f.pair(asNobody(), "save", out, "0")
		if err != nil {
			return r, err
		}
		note := sayAll(said)
		if v == good && strings.Count(note, "permission denied") != 2 {
			v = wrong
		} else if v == good {
			v, note = oneOf(out, generation(0))
		}
		r.add(v, note)
		r.leak(leftOver(dir, "out"))
	}
	return r, nil
}
