package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"gonum.org/v1/gonum/stat"

	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models/mlx"
)

// A result is a table or figure as it came out.
type result struct {
	Name    string  `json:"name"`
	Title   string  `json:"title"`
	Data    string  `json:"data"`
	Images  int     `json:"test_images"`
	Rows    []row   `json:"rows"`
	Plane   *plane  `json:"plane,omitempty"`
	Scale   scale   `json:"scale"`
	Backend string  `json:"backend"`
	Machine machine `json:"machine"`
	Commit  string  `json:"commit,omitempty"` // of the program; -dirty where it had been changed
	Seconds float64 `json:"seconds"`
}

// A row is a model; where it depends on the calibration images that were drawn,
// the mean over draws.
type row struct {
	cli.Row
	Draws       int      `json:"draws"`
	AccuracyStd *float64 `json:"accuracy_std,omitempty"`
	LossStd     *float64 `json:"loss_std,omitempty"`
	scores      []mlx.Score
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

// add keeps a row and tells of it.
func (r *result) add(x row) {
	var accuracy, loss []float64
	for _, s := range x.scores {
		accuracy, loss = append(accuracy, s.Accuracy), append(loss, s.Loss)
	}
	x.Draws = len(x.scores)
	a, l := stat.Mean(accuracy, nil), stat.Mean(loss, nil)
	x.Accuracy, x.Loss = &a, &l
	if x.Draws > 1 {
		a, l := stat.StdDev(accuracy, nil), stat.StdDev(loss, nil)
		x.AccuracyStd, x.LossStd = &a, &l
	}
	r.Rows = append(r.Rows, x)
	cli.Notice("%-28s accuracy %6.2f %%  loss %.3f", x.Label, 100*a, l)
}

// publish prints a result and writes it into a directory.
func (r *result) publish(dir string, w io.Writer) error {
	var text bytes.Buffer
	r.print(&text)
	err := atomicfile.WriteFile(filepath.Join(dir, r.Name+".txt"), func(to io.Writer) error {
		_, err := to.Write(text.Bytes())
		return err
	})
	if err != nil {
		return err
	}
	if err := cli.WriteJSON(filepath.Join(dir, r.Name+".json"), r); err != nil {
		return err
	}
	if r.Plane != nil {
		if err := r.Plane.draw(filepath.Join(dir, r.Name+".png")); err != nil {
			return err
		}
	}
	_, err = w.Write(text.Bytes())
	return err
}

func (r *result) print(w *bytes.Buffer) {
	fmt.Fprintf(w, "%s (%s)\n%s, %d test images, scale %s, %s, commit %s\n\n", r.Title, r.Name, r.Data, r.Images, r.Scale.Name, r.Backend, r.Commit)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "model\tfinetuned\taccuracy, %\tloss, nats\tdraws\tseconds")
	for _, x := range r.Rows {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%d\t%.1f\n", x.Label, x.Finetuned, spread(x.Accuracy, x.AccuracyStd, 100), spread(x.Loss, x.LossStd, 1), x.Draws, x.Seconds)
	}
	_ = t.Flush() // into memory
	fmt.Fprintln(w)
}

// spread formats a mean and, where there is one, its standard deviation.
func spread(mean, std *float64, scale float64) string {
	digits := 2
	if scale == 1 {
		digits = 3
	}
	s := fmt.Sprintf("%.*f", digits, scale**mean)
	if std != nil {
		s += fmt.Sprintf(" ± %.*f", digits, scale**std)
	}
	return s
}
