package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"

	"gonum.org/v1/gonum/stat"

	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/report"
)

// result is a table or figure as it came out.
type result struct {
	Name    string  `json:"name"`
	Title   string  `json:"title"`
	Command string  `json:"command"`
	Data    string  `json:"data"`
	Samples int     `json:"test_samples"` // 0 where nothing is scored
	Rows    []row   `json:"rows"`
	Plane   *plane  `json:"plane,omitempty"`
	Scale   scale   `json:"scale"`
	Backend string  `json:"backend"`
	Machine machine `json:"machine"`
	Commit  string  `json:"commit,omitempty"` // of the program; -dirty where it had been changed
	Seconds float64 `json:"seconds"`          // with the training of parents that were missing
}

// row is a model; where it depends on the calibration samples that were drawn
// or stands for several groups of parents, the mean over these runs.
type row struct {
	report.Row
	Runs        int              `json:"runs"`
	AccuracyStd *float64         `json:"accuracy_std,omitempty"`
	LossStd     *float64         `json:"loss_std,omitempty"`
	Barrier     *float64         `json:"barrier,omitempty"` // of the loss, nats
	BarrierStd  *float64         `json:"barrier_std,omitempty"`
	Lines       [][]report.Point `json:"lines,omitempty"`  // of every run
	Stages      *lab.Stages      `json:"stages,omitempty"` // of the last run, but for compilation
	Sizes       []sizeUsage      `json:"sizes,omitempty"`  // what it took at each
	Time        *exponents       `json:"seconds_grow_as,omitempty"`
	Memory      *exponents       `json:"memory_grows_as,omitempty"` // beside what was held before
}

// machine is what a result was made on.
type machine struct {
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	Processor  string `json:"processor,omitempty"` // as Linux calls it
	Processors int    `json:"processors"`
}

func thisMachine() machine {
	m := machine{runtime.GOOS, runtime.GOARCH, "", runtime.NumCPU()}
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m // another system
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			m.Processor = strings.TrimSpace(value)
			break
		}
	}
	return m
}

// commit is the version of the program: what go build noted, or, for go run,
// which notes nothing, what git says of the working directory. It is empty where
// neither knows.
func commit(ctx context.Context) string {
	var revision, dirty string
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = s.Value[:min(12, len(s.Value))]
			case s.Key == "vcs.modified" && s.Value == "true":
				dirty = "-dirty"
			}
		}
	}
	if revision != "" {
		return revision + dirty
	}
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--abbrev=12", "--dirty").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// summary is the mean of values and, where there are several, their standard
// deviation.
func summary(values []float64) (mean, std *float64) {
	if len(values) == 0 {
		return nil, nil
	}
	m := stat.Mean(values, nil)
	if len(values) > 1 {
		s := stat.StdDev(values, nil)
		std = &s
	}
	return &m, std
}

// path is where a result is kept.
func (r *result) path(dir string) string { return filepath.Join(dir, r.Name+".json") }

// kept is what -out holds of a table if it was made by the same command at the
// same scale; else nil. One that was made from other data than are found now is
// an error: it is not what was asked for, and may be dear to make again.
func (b *bench) kept(ctx context.Context, name string) (*result, error) {
	r := result{Name: name}
	text, err := os.ReadFile(r.path(b.out))
	if err != nil || json.Unmarshal(text, &r) != nil || r.Command != b.command(name) ||
		!reflect.DeepEqual(r.Scale, b.scale) {
		return nil, nil //nolint:nilerr // then there is nothing to keep
	}
	t, err := b.task(ctx, tableNamed(b.scale, name).parents(b.scale)[0][0])
	if err != nil {
		return nil, err
	}
	if _, found := t.Names(); found != r.Data {
		return nil, fmt.Errorf("%s is about %s, and the data found now are %s; name another -out", r.path(b.out), r.Data,
			found)
	}
	return &r, nil
}

// publish writes a result into a directory.
func (r *result) publish(dir string) error {
	if r.Plane != nil {
		if err := r.Plane.draw(filepath.Join(dir, r.Name+".png")); err != nil {
			return err
		}
	}
	return report.WriteJSON(r.path(dir), r)
}
