package ot_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// goldens is one family of reference problems and answers.
type goldens struct {
	Cases []golden `json:"cases"`

	data   []byte
	header map[string]tensor
}

type tensor struct {
	DType   string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets [2]int `json:"data_offsets"`
}

type golden struct {
	ID       string   `json:"id"`
	Problem  string   `json:"problem"`
	Inputs   []string `json:"inputs"`
	Function string   `json:"function"`
	Warnings []string `json:"warnings"`
	Cost     float64  `json:"cost"`
	Unique   bool     `json:"plan_unique"`
	Reg      float64  `json:"reg"`
	RegM     float64  `json:"reg_m"`
	RegType  string   `json:"reg_type"`
	Mass     float64  `json:"mass"`
	M        float64  `json:"m"`
	Alpha    float64  `json:"alpha"`
	Epsilon  float64  `json:"epsilon"`
	Solver   string   `json:"solver"`
	GW       *float64 `json:"gw_dist"`
	FGW      *float64 `json:"fgw_dist"`
	Params   struct {
		StopThr float64 `json:"stopThr"`
	} `json:"params"`
}

// openGoldens reads a family from the folder that OTFUSE_GOLDEN names.
func openGoldens(t *testing.T, family string) *goldens {
	t.Helper()
	dir := os.Getenv("OTFUSE_GOLDEN")
	if dir == "" {
		t.Skip("OTFUSE_GOLDEN is not set: no reference numbers to compare with")
	}
	text, err := os.ReadFile(filepath.Join(dir, "ot", family+".json"))
	require.NoError(t, err)
	raw, err := os.ReadFile(filepath.Join(dir, "ot", family+".safetensors"))
	require.NoError(t, err)
	g := &goldens{header: map[string]tensor{}}
	require.NoError(t, json.Unmarshal(text, g))
	size := int(binary.LittleEndian.Uint64(raw))
	var entries map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(raw[8:8+size], &entries))
	for name, e := range entries {
		if name != "__metadata__" {
			var h tensor
			require.NoError(t, json.Unmarshal(e, &h))
			g.header[name] = h
		}
	}
	g.data = raw[8+size:]
	require.NotEmpty(t, g.Cases)
	return g
}

// input returns a tensor of a case, or of the case that stores its problem.
func (g *goldens) input(t *testing.T, c golden, name string) []float64 {
	t.Helper()
	key := c.ID + "/" + name
	if _, ok := g.header[key]; !ok {
		key = c.Problem + "/" + name
	}
	h, ok := g.header[key]
	require.True(t, ok, key)
	raw := g.data[h.Offsets[0]:h.Offsets[1]]
	if h.DType == "F32" {
		out := make([]float64, len(raw)/4)
		for i := range out {
			out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])))
		}
		return out
	}
	require.Equal(t, "F64", h.DType)
	out := make([]float64, len(raw)/8)
	for i := range out {
		out[i] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
	}
	return out
}

func (g *goldens) matrix(t *testing.T, c golden, name string) *mat.Dense {
	t.Helper()
	key := c.ID + "/" + name
	if _, ok := g.header[key]; !ok {
		key = c.Problem + "/" + name
	}
	h := g.header[key]
	require.Len(t, h.Shape, 2, key)
	return mat.NewDense(h.Shape[0], h.Shape[1], g.input(t, c, name))
}

func (g *goldens) problem(t *testing.T, c golden) ot.Problem {
	t.Helper()
	return ot.Problem{Cost: g.matrix(t, c, "M"), A: g.input(t, c, "a"), B: g.input(t, c, "b")}
}

// near requires two matrices to agree in every entry.
func near(t *testing.T, want, got mat.Matrix, tol float64) {
	t.Helper()
	var d mat.Dense
	d.Sub(want, got)
	require.LessOrEqual(t, max(mat.Max(&d), -mat.Min(&d)), tol)
}

func TestGoldenEMD(t *testing.T) {
	g := openGoldens(t, "emd")
	for _, c := range g.Cases {
		t.Run(c.ID, func(t *testing.T) {
			p := g.problem(t, c)
			if mat.Min(p.Cost) < 0 {
				_, err := ot.Sinkhorn{}.Solve(context.Background(), p)
				require.ErrorIs(t, err, ot.ErrNegative)
			}
			plan := certify(t, p)
			require.InDelta(t, c.Cost, plan.Cost(p.Cost), 1e-9*(1+math.Abs(c.Cost)))
			if c.Unique {
				near(t, g.matrix(t, c, "G"), plan.Mass(), 1e-9)
			}
		})
	}
}

func TestGoldenSinkhorn(t *testing.T) {
	g := openGoldens(t, "sinkhorn")
	for _, c := range g.Cases {
		t.Run(c.ID, func(t *testing.T) {
			p := g.problem(t, c)
			s := ot.Sinkhorn{Reg: c.Reg, Tol: 1e-12, MaxIter: 200000}
			tol := 1e-7
			if c.Params.StopThr == 1e-13 {
				s.Tol, tol = 1e-14, 1e-10
			}
			if len(c.Warnings) > 0 {
				s.MaxIter = 5000
			}
			plan, err := s.Solve(context.Background(), p)
			if late, ok := errors.AsType[*ot.NotConvergedError](err); ok {
				t.Log(late)
				require.Less(t, late.Residual, 1e-5)
			} else {
				require.NoError(t, err)
			}
			if len(c.Warnings) > 0 {
				t.Skip("the reference did not converge: ", strings.Join(c.Warnings, "; "))
			}
			near(t, g.matrix(t, c, "G"), plan.Mass(), tol)
		})
	}
}
