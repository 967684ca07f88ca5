package report

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// vit is a ViT of two layers drawn from a seed.
func vit(t *testing.T, seed uint64) *models.Model {
	c := models.ViTConfig{Hidden: 8, Layers: 2, Heads: 2, MLP: 12, Act: "gelu",
		Eps: 1e-12, Image: 8, Patch: 4, Channels: 3, Labels: map[string]string{"0": "a", "1": "b"}}
	m, err := models.Fresh(models.ViT(), c, seed, 0.02)
	require.NoError(t, err)
	return m
}

// full is a page with every part.
func full(t *testing.T) Page {
	anchor, other := vit(t, 0), vit(t, 1)
	_, rep, err := fuse.Align(context.Background(), anchor, []*models.Model{other}, fuse.Transport{},
		&fuse.Settings{KeepMaps: true})
	require.NoError(t, err)
	p := Page{Title: "Two <models> & \"more\"", Graph: anchor.Graph, Facts: []Fact{Describe("anchor", anchor)}}
	p.Report = Report{Data: "a & b", Backend: "none", Rows: []Row{
		{Method: "parent", Label: "parent 0", Accuracy: new(0.7123), Loss: new(0.811)},
		{Method: "parent", Label: "parent 1", Accuracy: new(0.6912), Loss: new(0.842), Options: struct{}{}},
		{Method: "ensemble", Accuracy: new(0.7345), Loss: new(0.799)},
		{Method: "vanilla", Accuracy: new(0.1234), Loss: new(2.305)},
		{Method: "flow", Label: "transport", Accuracy: new(0.6543), Loss: new(1.017), Seconds: 1.5,
			Options: map[string]any{"solver": "sinkhorn", "reg": 0.08}},
		{Method: "flow", Label: "transport, finetuned", Finetuned: 195, Accuracy: new(0.7001), Loss: new(0.9), Seconds: 20,
			Seen: "195 updates of 128 images with labels"},
	}}
	p.Report.AddNodes(rep)
	p.Report.Maps = SampleMaps(rep, 3, "weights")
	p.Report.Curves = []Curve{
		{Method: "flow", Label: "transport", Along: AlongLine, Points: []Point{{0, 0.7, 1}, {0.5, 0.35, 2.25}, {1, 0.6, 1.5}},
			Barrier: &Barrier{0.3, 1}},
		{Method: "flow", Label: "transport", Along: AlongUpdates, Points: []Point{{0, 0.65, 1.1}, {10, 0.7, 0.9}}},
	}
	return p
}

func render(t *testing.T, p Page) string {
	var b bytes.Buffer
	require.NoError(t, p.Render(&b))
	return b.String()
}

// wellFormed reads a page as XML and returns the text of its elements.
func wellFormed(t *testing.T, page string) (elements map[string]int, text string) {
	elements = map[string]int{}
	var all strings.Builder
	for d := xml.NewDecoder(strings.NewReader(page)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return elements, all.String()
		}
		require.NoError(t, err)
		switch x := token.(type) {
		case xml.StartElement:
			elements[x.Name.Local]++
			for _, a := range x.Attr {
				refers := a.Name.Local == "src" || a.Name.Local == "href"
				require.True(t, !refers || strings.HasPrefix(a.Value, "data:image/png;base64,"), "%s=%.40s", a.Name.Local, a.Value)
			}
		case xml.CharData:
			all.Write(x)
		}
	}
}

func TestPageIsWellFormedAndSelfContained(t *testing.T) {
	page := render(t, full(t))
	elements, text := wellFormed(t, page)
	for _, foreign := range []string{"http:", "https:", "url(", "@import", "<script", "<link", "ZgotmplZ"} {
		require.NotContains(t, page, foreign, foreign)
	}
	require.Equal(t, 2*3, elements["img"], "each map stored and sorted")
	require.Contains(t, text, `Two <models> & "more"`)
}

func TestPageShowsTheNumbersOfTheReport(t *testing.T) {
	p := full(t)
	_, text := wellFormed(t, render(t, p))
	for _, r := range p.Report.Rows {
		require.Contains(t, text, Accuracy.format(*r.Accuracy))
		require.Contains(t, text, Loss.format(*r.Loss))
	}
	for _, n := range p.Report.Nodes {
		require.Contains(t, text, n.Name)
		require.Contains(t, text, fmt.Sprintf("%.4f", n.Cost))
	}
	for _, want := range []string{"12.34 %", "71.23 %", "65.43 %", "parents 69.12 % to 71.23 %", "ensemble 73.45 %",
		"sinkhorn", "195 updates of 128 images with labels", "0.08", "195",
		"reach an accuracy of 12.34 %", "reach an accuracy of 65.43 %"} {
		require.Contains(t, text, want)
	}
}

func TestBarsAndBarriers(t *testing.T) {
	p := full(t)
	v, err := p.view()
	require.NoError(t, err)
	require.Len(t, v.Headline.Groups, 2)
	var order []string
	for _, b := range v.Headline.Groups[0].Bars {
		order = append(order, b.Label)
	}
	require.Equal(t, []string{"ensemble", "parent 0", "parent 1", "transport", "vanilla"}, order, "the best first")
	require.Equal(t, "100.00", v.Headline.Groups[0].Bars[0].Width)
	require.Equal(t, fmt.Sprintf("%.2f", 100*0.1234/0.7345), v.Headline.Groups[0].Bars[4].Width)
	require.Equal(t, bar{"transport", "30.00", "flow", "100.00"}, v.Barriers[0].Groups[0].Bars[0])
	require.Equal(t, bar{"transport", "1.000", "flow", "100.00"}, v.Barriers[1].Groups[0].Bars[0])
}

// Without an accuracy the page goes by the loss, where less is better.
func TestLossAlone(t *testing.T) {
	p := Page{Title: "loss", Report: Report{Rows: []Row{{Method: "vanilla", Loss: new(7.5)},
		{Method: "flow", Loss: new(2.25)}, {Method: "flow", Loss: new(4.0)}}}}
	_, text := wellFormed(t, render(t, p))
	require.Contains(t, text, "reach a loss of 7.500. Aligned first, they reach a loss of 2.250")
}

func TestGraphIsCutIntoBlocks(t *testing.T) {
	p := full(t)
	f := newFlowChart(p.Graph, p.Report.Nodes)
	var titles []string
	boxes := 0
	for _, s := range f.Sections {
		titles = append(titles, s.Title)
		at := map[string]bool{}
		for _, b := range s.Boxes {
			require.False(t, at[b.X+" "+b.Y], "%s covers another node", b.Name)
			at[b.X+" "+b.Y] = true
			if b.Class != "outside" {
				boxes++
			}
		}
	}
	require.Equal(t, []string{"from the input", "vit.encoder.layer.0", "vit.encoder.layer.1", "to the output"}, titles)
	require.Equal(t, len(p.Graph.Nodes), boxes, "every node once")
}

// Every architecture can be drawn.
func TestEveryArchitecture(t *testing.T) {
	for _, net := range modeltest.Nets() {
		g, err := net.Graph()
		require.NoError(t, err)
		wellFormed(t, render(t, Page{Title: net.Arch.Class, Report: Report{Rows: []Row{{Method: "flow"}}}, Graph: g}))
	}
}

func TestPicture(t *testing.T) {
	m := mat.NewDense(3, 3, []float64{0, -2, 0, 0, 0, 1, 1, 0, 0})
	p, err := newPicture(Map{Values: m})
	require.NoError(t, err)
	signs := func(url string) (out []string) {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(url, "data:image/png;base64,"))
		require.NoError(t, err)
		img, err := png.Decode(bytes.NewReader(raw))
		require.NoError(t, err)
		for y := range 3 {
			row := ""
			for x := range 3 {
				switch r, _, b, a := img.At(x, y).RGBA(); {
				case a == 0:
					row += "0"
				case r > b:
					row += "-"
				default:
					row += "+"
				}
			}
			out = append(out, row)
		}
		return out
	}
	require.Equal(t, []string{"0-0", "00+", "+00"}, signs(string(p.Stored)))
	require.Equal(t, []string{"+00", "0-0", "00+"}, signs(string(p.Sorted)))
}

// What is odd is left out or is an error; nothing panics.
func TestOddPages(t *testing.T) {
	require.ErrorIs(t, Page{}.Render(io.Discard), ErrEmpty)
	one := Report{Rows: []Row{{Method: "flow"}}}
	for _, m := range []mat.Matrix{nil, &mat.Dense{}, mat.NewDense(1, 1, []float64{math.NaN()})} {
		require.ErrorIs(t, Page{Report: Report{Rows: one.Rows, Maps: []Map{{Title: "m", Values: m}}}}.Render(io.Discard),
			ErrMap)
	}
	nan, inf := math.NaN(), math.Inf(1)
	for _, p := range []Page{
		{Report: one}, {Report: one, Graph: &graph.Graph{}},
		{Report: Report{Rows: []Row{{Method: "x", Accuracy: &nan, Loss: &inf, Options: func() {}}}}},
		{Report: Report{Rows: []Row{{Method: "flow", Accuracy: new(0.0), Loss: new(0.0)}}}},
		{Report: Report{Rows: one.Rows, Nodes: []fuse.NodeReport{{Name: "n", Cost: nan, Entropy: inf, Diagonal: -1}}}},
		{Report: Report{Rows: one.Rows, Curves: []Curve{{}, {Along: AlongLine},
			{Along: AlongLine, Points: []Point{{nan, inf, inf}}},
			{Along: AlongLine, Points: []Point{{1, 1, nan}}}, {Along: AlongUpdates,
				Points: []Point{{0, nan, 1}, {0, nan, 1}}}}}},
		{Report: Report{Rows: one.Rows, Maps: []Map{{Values: mat.NewDense(1, 300, nil)},
			{Values: mat.NewDense(300, 1, nil)}}}},
	} {
		page := render(t, p)
		wellFormed(t, page)
		require.NotContains(t, html.UnescapeString(page), "NaN%")
	}
}

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.html")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o644))
	require.ErrorIs(t, Page{}.WriteFile(path), ErrEmpty)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "old", string(text), "a page that fails leaves the old one")
	p := full(t)
	require.NoError(t, p.WriteFile(path))
	text, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, render(t, p), string(text), "the same page is the same bytes")
}

// TestPlots: every chart that has curves is a picture of its own.
func TestPlots(t *testing.T) {
	dir, p := t.TempDir(), full(t)
	p.Report.Curves[1].Points = []Point{{0, math.NaN(), 1.1}, {10, math.NaN(), 0.9}}
	require.NoError(t, p.WritePlots(dir))
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Len(t, files, 3)
	for _, name := range []string{"line-accuracy.svg", "line-loss.svg", "finetuning-loss.svg"} {
		picture, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.NotContains(t, string(picture), "ZgotmplZ")
		elements, text := wellFormed(t, string(picture))
		require.Equal(t, 1, elements["svg"])
		require.Equal(t, len(p.Report.Curves[0].Points), elements["circle"]+map[bool]int{true: 1}[strings.HasPrefix(name,
			"fine")])
		require.Contains(t, text, "transport")
	}
}
