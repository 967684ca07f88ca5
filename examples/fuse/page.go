package main

import (
	"fmt"

	"github.com/otfuse/otfuse/internal/htmlreport"
)

// pageMaps is the number of maps that a page shows.
const pageMaps = 8

// page is the report to look at.
func (j *job) page() htmlreport.Page {
	p := htmlreport.Page{Title: fmt.Sprintf("%d models fused into one", len(j.facts)), Report: j.report, Graph: j.base.Graph,
		Facts: append(j.facts, htmlreport.Fact{Name: "fused model", Text: j.out})}
	if j.fusion != nil {
		p.Maps = htmlreport.Spread(j.fusion, pageMaps, "other model 1 onto the anchor")
	}
	return p
}
