package ot_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// source makes numbers of fuzzed bytes, from the start again when they are used up: any
// float64, or small ones that make a valid problem more likely.
type source struct{ data, all []byte }

func (s *source) byte() byte {
	if len(s.data) == 0 {
		if s.data = s.all; len(s.data) == 0 {
			return 0
		}
	}
	b := s.data[0]
	s.data = s.data[1:]
	return b
}

func read(data []byte) *source { return &source{data, data} }

func (s *source) float() float64 {
	switch b := s.byte(); {
	case b == 255 && len(s.data) >= 8:
		v := math.Float64frombits(binary.LittleEndian.Uint64(s.data))
		s.data = s.data[8:]
		return v
	case b == 254:
		return 3e-320 * float64(s.byte())
	case b == 253:
		return 1e300
	case b >= 200:
		return math.Pow(10, float64(b)-230)
	default:
		return float64(b) / 16
	}
}

func (s *source) floats(n int) []float64 {
	w := make([]float64, n)
	for i := range w {
		w[i] = s.float()
	}
	return w
}

// size is small, or now and then 64 for long and narrow problems.
func (s *source) size() int {
	if b := s.byte(); b < 240 {
		return 1 + int(b%6)
	}
	return 64
}

// problem is often balanced and need not be valid.
func (s *source) problem() ot.Problem {
	n, m := s.size(), s.size()
	p := ot.Problem{Cost: mat.NewDense(n, m, s.floats(n*m))}
	switch s.byte() % 3 {
	case 1:
		p.A, p.B = s.floats(n), s.floats(m)
	case 2:
		p.A, p.B = s.floats(n), s.floats(m)
		var a, b float64
		for _, v := range p.A {
			a += v
		}
		for _, v := range p.B {
			b += v
		}
		for j := range p.B {
			p.B[j] *= a / b
		}
	}
	return p
}

func seeds(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{2, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0})
	f.Add([]byte{3, 1, 16, 0, 200, 250, 3, 9, 100, 7, 2, 1, 16, 240, 0, 9, 9, 9})
	f.Add([]byte{250, 1, 254, 7, 16, 253, 9, 2, 1, 40})
	f.Add([]byte{251, 252, 1, 2, 3, 4, 5})
	f.Add([]byte{0, 0, 255, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f, 0, 0})
}

// sound checks what holds for any solver and any input: it returns a plan of finite
// numbers with mass, or an error of this package.
func sound(t *testing.T, plan ot.Plan, err error) {
	t.Helper()
	var bad *ot.InvalidError
	var late *ot.NotConvergedError
	switch {
	case errors.As(err, &bad):
		if !plan.IsIdentity() {
			t.Fatalf("plan came with %v", err)
		}
		return
	case err != nil && !errors.As(err, &late):
		t.Fatal(err)
	case late != nil && !(late.Residual > 0):
		t.Fatalf("not converged without a residual: %v", late)
	case plan.IsIdentity():
		t.Fatal("no plan, no error")
	}
	var total float64
	n, m := plan.Dims()
	for i := range n {
		for j := range m {
			v := plan.Mass().At(i, j)
			if !(v >= 0) || math.IsInf(v, 0) {
				t.Fatalf("plan[%d,%d] = %g", i, j, v)
			}
			total += v
		}
	}
	if total == 0 {
		t.Fatal("plan without mass")
	}
}

func fuzz(f *testing.F, solver func(*source) ot.Solver) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := read(data)
		plan, err := solver(s).Solve(context.Background(), s.problem())
		sound(t, plan, err)
	})
}

func FuzzEMD(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := read(data)
		p := s.problem()
		var e ot.EMD
		if s.byte()%4 == 3 {
			_, m := p.Cost.Dims()
			e.Start = &ot.Duals{V: s.floats(m)}
		}
		if s.byte()%2 == 1 {
			n, m := p.Cost.Dims()
			single := ot.DenseFloat32{N: n, M: m, Data: make([]float32, n*m)}
			for k := range single.Data {
				single.Data[k] = float32(p.Cost.At(k/m, k%m))
			}
			p.Cost = single
		}
		plan, duals, err := e.SolveDual(context.Background(), p)
		sound(t, plan, err)
		if err != nil {
			return
		}
		c, err := ot.Certify(p, plan, duals)
		a, _ := plan.Marginals()
		var mass float64
		for _, v := range a {
			mass += v
		}
		top := max(mat.Max(p.Cost), -mat.Min(p.Cost))
		slack := 1e-8*top*mass + 1e-315 // and the spacing of denormal numbers
		if err != nil || c.Violation > 1e-8*mass || c.Infeasible > 1e-12*top+1e-315 || math.Abs(c.Gap) > slack {
			t.Fatalf("%+v %v", c, err)
		}
	})
}

func FuzzSinkhorn(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := read(data)
		solver := ot.Sinkhorn{Reg: s.float(), Tol: 1e-6, MaxIter: 20}
		p := s.problem()
		if s.byte()%4 == 3 {
			_, m := p.Cost.Dims()
			solver.Start = &ot.Duals{V: s.floats(m)}
		}
		r, err := solver.SolveResult(context.Background(), p)
		sound(t, r.Plan, err)
		if err == nil && (math.IsNaN(r.Objective) || math.IsNaN(r.Regularised) || r.Iterations > 20) {
			t.Fatalf("%+v", r)
		}
	})
}

func FuzzUnbalanced(f *testing.F) {
	fuzz(f, func(s *source) ot.Solver {
		u := ot.Unbalanced{Reg: s.float(), Penalty: s.float(), Tol: 1e-6, MaxIter: 20}
		if s.byte()%2 == 1 {
			u.Prior = ot.PriorCounting{}
		}
		return u
	})
}

func FuzzPartial(f *testing.F) {
	fuzz(f, func(s *source) ot.Solver {
		share := s.float() / 16
		if s.byte()%2 == 1 {
			return ot.PartialSinkhorn{Share: share, Reg: s.float(), Tol: 1e-6, MaxIter: 20}
		}
		return ot.Partial{Share: share}
	})
}

func FuzzGromov(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := read(data)
		p := s.problem()
		n, m := p.Cost.Dims()
		q := ot.Quadratic{X: mat.NewDense(n, n, s.floats(n*n)), Y: mat.NewDense(m, m, s.floats(m*m)), A: p.A, B: p.B}
		if s.byte()%2 == 1 {
			q.Cost = p.Cost
		}
		entropic := ot.EntropicGromovWasserstein{Reg: s.float(), MaxIter: 2}
		r, err := entropic.SolveResult(context.Background(), q)
		soft := r.Plan
		sound(t, soft, err)
		if s.byte()%2 == 1 {
			r.Duals.V = s.floats(m)
			entropic.Start = &r
			plan, _, err := entropic.Solve(context.Background(), q)
			sound(t, plan, err)
		}
		exact := ot.GromovWasserstein{MaxIter: 20}
		if !soft.IsIdentity() {
			exact.Start = &soft
		}
		plan, _, err := exact.Solve(context.Background(), q)
		sound(t, plan, err)
	})
}

func FuzzBarycenter(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := read(data)
		reg, p := s.float(), s.problem()
		n, m := p.Cost.Dims()
		all, weights, b := [][]float64{s.floats(m), s.floats(m)}, s.floats(2), ot.Barycenter{Reg: reg, MaxIter: 20}
		if s.byte()%4 == 3 {
			b.Start = []ot.Duals{{U: s.floats(n)}, {U: s.floats(n)}}
		}
		bar, err := b.Solve(context.Background(), p.Cost, all, weights)
		if err != nil && bar == nil {
			if !errors.As(err, new(*ot.InvalidError)) {
				t.Fatal(err)
			}
			return
		}
		var total float64
		for _, v := range bar {
			total += v
		}
		if math.Abs(total-1) > 1e-9 {
			t.Fatalf("barycenter of mass %g, %v", total, err)
		}
	})
}

func FuzzMetric(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := read(data)
		n, m, d := 1+int(s.byte()%5), 1+int(s.byte()%5), 1+int(s.byte()%3)
		g := ot.NewGram(mat.NewDense(n, d, s.floats(n*d)), mat.NewDense(m, d, s.floats(m*d)))
		for _, metric := range []ot.Metric{ot.Euclidean{}, ot.SqEuclidean{}, ot.Cosine{}, ot.Correlation{}} {
			for _, by := range []ot.Scale{nil, ot.ScaleMax{}, ot.ScaleMean{}, ot.ScaleMedian{}, ot.ScaleLog{}} {
				c, err := ot.Scaled{Metric: metric, By: by}.Cost(g)
				if err == nil {
					err = ot.Problem{Cost: c}.Validate()
				} else if errors.As(err, new(*ot.InvalidError)) {
					continue
				}
				if err != nil {
					t.Fatalf("%T by %T: %v", metric, by, err)
				}
			}
		}
	})
}
