package story

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/report"
)

// publish prints the table and writes the report, to read and to look at, and
// the plots of what there is.
func (s *Story) publish() error {
	path := s.File
	if path == "" {
		path = filepath.Join(s.Out, "report.json")
	}
	page := s.page()
	if err := errors.Join(s.Report.Write(path), page.WritePlots(s.Out), page.WriteFile(filepath.Join(s.Out, "report.html"))); err != nil {
		return err
	}
	cli.Notice("wrote report.html, report.json, plots and checkpoints to %s", s.Out)
	return s.Report.Print(os.Stdout)
}

// page is the report to look at.
func (s *Story) page() report.Page {
	p := report.Page{Title: s.Title, Report: s.Report, Graph: s.Parents[0].Graph}
	for k, m := range s.Parents {
		p.Facts = append(p.Facts, report.Describe(parentLabel(k), m))
	}
	p.Facts = append(p.Facts, report.Fact{Name: "calibrated on", Text: fmt.Sprintf("%d training %s, without their labels", s.Calib.Len(), s.Samples)},
		report.Fact{Name: "scored on", Text: fmt.Sprintf("%d test %s; curves on the first %d", s.Tests, s.Samples, s.Quick.Len())})
	if len(s.Report.Nodes) > 0 {
		p.Facts = append(p.Facts, report.Fact{Name: "flow graph and nodes", Text: s.Main().Label})
	}
	for _, f := range s.Best() {
		if rep := s.reports[f.Label]; rep != nil {
			p.Maps = append(p.Maps, report.SampleMaps(rep, 4, f.Label)...)
		}
	}
	return p
}
