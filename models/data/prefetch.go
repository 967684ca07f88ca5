package data

import "sync"

// Prefetch returns a function with the same results as produce. While the value of
// a step is in use, the values of the next n steps are produced, each on a
// goroutine of its own. The result of produce must depend on the step alone, and
// several goroutines call it at a time; then neither n nor the number of cores
// changes the results. Steps may be requested in any order; values of steps that
// are skipped are dropped.
//
// The returned function must not be called by several goroutines at a time.
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
					ahead := made[s]
					go func() { _, _ = ahead() }() // whoever asks for the step gets both
				}
			}
		}
		value, err := made[step]()
		delete(made, step)
		return value, err
	}
}
