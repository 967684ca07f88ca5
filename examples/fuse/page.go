package main

import (
	"fmt"

	"github.com/otfuse/otfuse/internal/report"
)

// pageMaps is the number of maps that a page shows.
const pageMaps = 8

// page is the report to look at.
func (j *job) page() report.Page {
	j.report.Maps = report.SampleMaps(j.fusion, pageMaps, "other model 1 onto the anchor")
	p := report.Page{Title: fmt.Sprintf("%d models fused into one", len(j.models)), Report: j.report,
		Graph: j.models[0].Graph}
	for i, name := range j.names {
		p.Facts = append(p.Facts, report.Describe(name, j.models[i]))
	}
	p.Facts = append(p.Facts, report.Fact{Name: "fused model", Text: j.out})
	return p
}
