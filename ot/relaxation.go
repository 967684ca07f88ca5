package ot

import "math"

// scaling is a scaling iteration, whose kernel is stored or not.
type scaling interface {
	state() *progress
	largestCost() float64
	tighten() error           // starts from potentials at which no kernel underflows
	setReg(reg float64) error // changes ε and keeps the potentials
	updateRows(omega float64) error
	updateColumns(omega float64) error
	restoreRows() error // undoes the last update of the rows
}

// relaxation drives a kernel to its marginals with over-relaxed scaling.
//
// Near the solution an iteration of plain scaling contracts the error by some θ², and
// one with exponent ω contracts it by λ, where (λ + ω − 1)² = λ ω² θ² (Young, 1954).
// The contraction observed over a window of iterations yields θ², which yields the
// best exponent ω = 2/(1 + √(1 − θ²)).
type relaxation struct {
	tol   float64 // residual at which to stop
	limit int     // iterations of the kernel at which to stop, earlier runs included

	omega         float64
	firstResidual float64 // residual at the start of the window
	windowAge     int     // iterations of the window so far
	plainWindows  int     // windows to run at ω = 1 before the next attempt
}

const (
	windowLength = 12
	maxOmega     = 1.99
)

// run iterates until the marginals hold to tol or the limit is reached. The last
// update of the columns is a plain one, so that their marginals hold exactly and the
// residual of the rows is that of the plan.
func (r *relaxation) run(k scaling) error {
	r.omega = 1
	at := k.state()
	clean := false // whether the last update of the columns was a plain one
	for {
		if err := k.updateRows(r.omega); err != nil {
			return err
		}
		res := at.residual
		if clean && (res <= r.tol || at.iterations >= r.limit) {
			// The columns fit the rows as they were before this pass.
			return k.restoreRows()
		}
		omega := r.omega
		if res <= r.tol || at.iterations+1 >= r.limit {
			omega = 1
		} else {
			r.adaptOmega(res)
		}
		if err := k.updateColumns(omega); err != nil {
			return err
		}
		clean = omega == 1
		at.iterations++
	}
}

// adaptOmega updates ω at the end of each window from the decrease of the residual.
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
		// The residual does not fall: the iterate is too far from the solution for
		// over-relaxation.
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
