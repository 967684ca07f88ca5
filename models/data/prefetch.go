package data

import "sync"

// Prefetch returns a function with the results of produce that works ahead: while
// the value of a step is in use, those of the next n steps are made, each on a
// goroutine of its own. produce must depend on nothing but the step and may be
// called by several goroutines at a time; then neither n nor the number of
// cores changes what comes out. Steps may be asked for in any order; what was
// made for steps that are passed over is dropped.
//
// The function returned is for one goroutine.
func Prefetch[T any](n int, produce func(step int) (T, error)) func(step int) (T, error) {
	made := map[int]func() (T, error){}
	return func(step int) (T, error) {
		for s := range made {
			if s < step || s > step+n {
				delete(made, s)
			}
		}
		for s := step; s <= step+n; s++ {
			if made[s] == nil {
				made[s] = sync.OnceValues(func() (T, error) { return produce(s) })
				if s > step {
					go made[s]()
				}
			}
		}
		value, err := made[step]()
		delete(made, step)
		return value, err
	}
}
