package ot

import "math"

// relaxation drives a kernel to its marginals with over-relaxed scaling.
//
// Near the solution plain scaling contracts by some θ² an iteration, and the
// exponent ω by λ, related through (λ + ω − 1)² = λ ω² θ² (Young, 1954). What
// is observed over a window gives θ², and that the best ω = 2/(1 + √(1 − θ²)).
type relaxation struct {
	tol   float64 // of the residual
	limit int     // iterations, on the count of the kernel

	omega         float64
	firstResidual float64 // residual at the start of the window
	windowAge     int     // of the window
	plainWindows  int     // windows still to run without relaxation
}

const (
	windowLength = 12
	maxOmega     = 1.99
)

// run iterates until the row marginals hold, which includes the columns, since
// the last update is a plain one.
func (r *relaxation) run(k *kernel) error {
	r.omega = 1
	clean := false // whether the columns hold exactly
	for {
		if err := k.updateRows(r.omega); err != nil {
			return err
		}
		res := k.residual
		if clean && (res <= r.tol || k.iterations >= r.limit) {
			// The pass has moved the rows on; the columns belong to the old.
			return k.restoreRows()
		}
		omega := r.omega
		if res <= r.tol || k.iterations+1 >= r.limit {
			omega = 1
		} else {
			r.adaptOmega(res)
		}
		if err := k.updateColumns(omega); err != nil {
			return err
		}
		clean = omega == 1
		k.iterations++
	}
}

// adaptOmega updates ω from the residuals.
func (r *relaxation) adaptOmega(res float64) {
	if r.windowAge == 0 {
		r.firstResidual = res
	}
	if r.windowAge++; r.windowAge <= windowLength {
		return
	}
	r.windowAge = 0
	rate := math.Pow(res/r.firstResidual, 1.0/windowLength)
	switch {
	case r.plainWindows > 0:
		r.plainWindows--
	case !(rate < 1):
		// Too far from the solution for relaxation.
		if r.omega > 1 {
			r.omega, r.plainWindows = 1, 2
		}
	default:
		lead := rate + r.omega - 1
		theta := min(lead*lead/(rate*r.omega*r.omega), 1)
		best := 2 / (1 + math.Sqrt(1-theta))
		r.omega = min(max(r.omega, best), maxOmega)
	}
}
