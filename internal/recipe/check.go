package recipe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// check reports the first value that is not allowed, with those that are.
func (r Recipe) check() error {
	if r.Distils() {
		return r.checkDistil()
	}
	if err := checkAllowed("method", r.Method, methods()...); err != nil {
		return err
	}
	if r.Samples < 0 {
		return fmt.Errorf("recipe: samples is %d, want at least 1", r.Samples)
	}
	if !(r.Reg > 0) {
		return fmt.Errorf("recipe: reg is %g, want more than 0", r.Reg)
	}
	if !(*r.Mix >= 0 && *r.Mix <= 1) {
		return fmt.Errorf("recipe: mix is %g, want 0 to 1", *r.Mix)
	}
	if err := r.checkCounts(); err != nil {
		return err
	}
	if r.Restarts < 0 {
		return fmt.Errorf("recipe: restarts is %d, want at least 0", r.Restarts)
	}
	if !(r.Refit >= 0) {
		return fmt.Errorf("recipe: refit is %g, want at least 0", r.Refit)
	}
	if err := r.checkTraining(); err != nil {
		return err
	}
	_, _, err := r.Build(Trainers{}, nil)
	if err == nil {
		_, err = r.TokenFilter()
	}
	return err
}

// checkCounts reports the first number of something that is out of range.
func (r Recipe) checkCounts() error {
	for _, count := range []struct {
		key   string
		value int
	}{{"rounds", r.Rounds}, {"steps", r.Steps}, {"batch", r.Batch}} {
		if count.value < 0 {
			return fmt.Errorf("recipe: %s is %d, want at least 1", count.key, count.value)
		}
	}
	return nil
}

// checkDistil is check for a distillation whose start is resolved.
func (r Recipe) checkDistil() error {
	switch {
	case r.Samples < 0:
		return fmt.Errorf("recipe: samples is %d, want at least 1", r.Samples)
	case r.Refit != 0:
		return fmt.Errorf("recipe: refit is %g, and of method distil it is the start that is refitted: give it in start",
			r.Refit)
	}
	if err := r.checkTraining(); err != nil {
		return err
	}
	return r.checkCounts()
}

// checkTraining reports what is out of range of learned matching and distillation.
func (r Recipe) checkTraining() error {
	switch {
	case !(r.LR > 0):
		return fmt.Errorf("recipe: lr is %g, want more than 0", r.LR)
	case r.HeldOut != nil && !(*r.HeldOut >= 0 && *r.HeldOut <= 0.5):
		return fmt.Errorf("recipe: held_out is %g, want 0 to 0.5", *r.HeldOut)
	}
	return nil
}

// checkAllowed reports a value that is not one of those allowed.
func checkAllowed(key, got string, allowed ...string) error {
	if slices.Contains(allowed, got) {
		return nil
	}
	return fmt.Errorf("recipe: %s is %q, allowed are %s", key, got, strings.Join(allowed, ", "))
}

// choose returns the value under its name, or an error that lists the names.
func choose[T any](key, got string, names []string, values ...T) (T, error) {
	i := slices.Index(names, got)
	if i < 0 {
		var none T
		return none, checkAllowed(key, got, names...)
	}
	return values[i], nil
}

// parseCount returns K of name:K.
func parseCount(key, s, name string) (int, error) {
	k, err := strconv.Atoi(strings.TrimPrefix(s, name+":"))
	if err != nil || k < 1 {
		return 0, fmt.Errorf("recipe: %s is %q, want %s:K with K at least 1", key, s, name)
	}
	return k, nil
}
