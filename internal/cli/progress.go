package cli

import (
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/otfuse/otfuse/models"
)

// Notice prints one line to stderr.
func Notice(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Line prints a line to stderr as it is.
func Line(s string) { Notice("%s", s) }

// Progress shows long work: a bar on a terminal, a line now and then elsewhere.
type Progress struct {
	label      string
	now, total int
	bar        *progressbar.ProgressBar
	started    time.Time
	from       int
	noticed    time.Time
}

// plainEvery is the time between two lines where there is no terminal.
const plainEvery = 20 * time.Second

// NewProgress starts showing work of total steps of which from are done.
func NewProgress(label string, total, from int) *Progress {
	p := &Progress{label: label, total: total, now: from, from: from, started: time.Now(), noticed: time.Now()}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetDescription(label),
			progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(),
			progressbar.OptionThrottle(200*time.Millisecond))
	}
	return p
}

// Step counts one step and shows a note beside it.
func (p *Progress) Step(note string) {
	p.now++
	if p.bar != nil {
		p.bar.Describe(p.label + ", " + note)
		_ = p.bar.Set(p.now) // a bar that cannot be drawn is no reason to stop
		return
	}
	if time.Since(p.noticed) < plainEvery {
		return
	}
	p.noticed = time.Now()
	left := time.Since(p.started) / time.Duration(p.now-p.from) * time.Duration(p.total-p.now)
	Notice("%s: %d of %d, %s, %s left", p.label, p.now, p.total, note, left.Round(time.Second))
}

// Done ends the showing.
func (p *Progress) Done() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

// UpdateBar returns an observer that shows the updates of a stage, from the first that is
// made on: where that is not the first of all, a line says so.
func UpdateBar(label, stage string) func(models.Progress) {
	var bar *Progress
	return func(p models.Progress) {
		if p.Stage != stage {
			return
		}
		if bar == nil {
			if p.Done > 1 {
				Notice("%s: going on after update %d", label, p.Done-1)
			}
			bar = NewProgress(label, p.Total, p.Done-1)
		}
		if bar.Step(fmt.Sprintf("loss %.3f", p.Loss)); p.Done == p.Total {
			bar.Done()
		}
	}
}

// NoticeStages returns an observer that prints each stage of long work once, as a
// line that begins with a label.
func NoticeStages(label string) func(models.Progress) {
	var last string
	return func(p models.Progress) {
		if line := fmt.Sprintf("%s: %s %s", label, p.Stage, p.Item); line != last {
			Notice("%s", line)
			last = line
		}
	}
}
