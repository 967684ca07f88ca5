package ot

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// Scaled is a metric whose costs are brought to another scale. Dividing by the largest
// cost, [ScaleMax], gives ε of entropic solvers the same meaning for all layers.
type Scaled struct {
	Metric Metric
	By     Scale // nil leaves the costs as they are
}

// Cost implements [Metric].
func (s Scaled) Cost(g Gram) (*mat.Dense, error) {
	if s.Metric == nil {
		return nil, invalid("Metric", ErrOption, "nil")
	}
	c, err := s.Metric.Cost(g)
	if err != nil {
		return nil, err
	}
	if s.By != nil {
		s.By.Apply(c)
	}
	return c, nil
}

// Scale changes the scale of a cost [n × m] in place. It keeps finite
// non-negative costs finite and non-negative, and zero costs zero.
type Scale interface {
	Apply(cost *mat.Dense)
}

// ScaleMax divides costs by the largest one: C / max C. It leaves zero costs alone.
type ScaleMax struct{}

// Apply implements [Scale].
func (ScaleMax) Apply(c *mat.Dense) {
	var top float64
	mapEntries(c, func(v float64) float64 { top = max(top, v); return v })
	divideBy(c, top)
}

// ScaleMean divides costs by their mean: C nm / ΣC. It leaves zero costs alone.
type ScaleMean struct{}

// Apply implements [Scale].
func (ScaleMean) Apply(c *mat.Dense) {
	if c == nil {
		return
	}
	n, m := c.Dims()
	size := float64(n) * float64(m)
	var s float64
	mapEntries(c, func(v float64) float64 { s += v / size; return v })
	divideBy(c, s)
}

// ScaleMedian divides costs by their lower median, the ⌈nm/2⌉-th smallest. It leaves
// costs with a median of zero alone.
type ScaleMedian struct{}

// Apply implements [Scale].
func (ScaleMedian) Apply(c *mat.Dense) {
	if c == nil || c.IsEmpty() {
		return
	}
	n, m := c.Dims()
	all := make([]float64, 0, n*m)
	mapEntries(c, func(v float64) float64 { all = append(all, v); return v })
	divideBy(c, nthSmallest(all, (n*m-1)/2))
}

// ScaleLog replaces costs by log(1 + C).
type ScaleLog struct{}

// Apply implements [Scale].
func (ScaleLog) Apply(c *mat.Dense) { mapEntries(c, math.Log1p) }

// divideBy divides c by s, unless s is not a positive finite number. Quotients that
// overflow become the largest number.
func divideBy(c *mat.Dense, s float64) {
	if !(s > 0) || math.IsInf(s, 0) {
		return
	}
	mapEntries(c, func(v float64) float64 { return min(v/s, math.MaxFloat64) })
}

// mapEntries replaces every entry v of c by f(v); an empty c has none.
func mapEntries(c *mat.Dense, f func(float64) float64) {
	if c == nil || c.IsEmpty() {
		return
	}
	n, _ := c.Dims()
	for i := range n {
		row := c.RawRowView(i)
		for j, v := range row {
			row[j] = f(v)
		}
	}
}

// nthSmallest returns the k-th smallest entry of x, counted from 0, and reorders x
// (quickselect). The median of three as the pivot keeps sorted input fast.
func nthSmallest(x []float64, k int) float64 {
	lo, hi := 0, len(x)-1
	for lo < hi {
		p := median3(x[lo], x[lo+(hi-lo)/2], x[hi])
		i, j := lo, hi
		for i <= j {
			for x[i] < p {
				i++
			}
			for x[j] > p {
				j--
			}
			if i <= j {
				x[i], x[j] = x[j], x[i]
				i++
				j--
			}
		}
		switch {
		case k <= j:
			hi = j
		case k >= i:
			lo = i
		default:
			return x[k]
		}
	}
	return x[lo]
}

// median3 returns the median of three numbers.
func median3(a, b, c float64) float64 { return max(min(a, b), min(max(a, b), c)) }
