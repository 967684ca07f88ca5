package gomlx

import (
	"errors"
	"sync"
)

// A usage says whether calls use something that has an owner, such as an argument. A
// call goes on after the end of its context, and what the owner frees in the meantime is
// freed at the end of the call.
type usage struct {
	mu    sync.Mutex
	calls int  // that use it
	freed bool // by its owner
}

// begin begins the use by a call.
func (u *usage) begin() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calls++
}

// end ends the use by a call, and reports whether the call is to free it.
func (u *usage) end() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calls--
	return u.freed && u.calls == 0
}

// free reports whether the owner is to free it: no call uses it, nor was it freed before.
func (u *usage) free() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	first := !u.freed
	u.freed = true
	return first && u.calls == 0
}

// A call is one execution of a program. Executions, and compilations still less, cannot
// be interrupted: where a context ends first, the call goes on by itself and frees what
// comes of it.
type call struct {
	program   *program
	arguments []any

	mu        sync.Mutex // guards what follows
	finished  bool
	abandoned bool // nobody waits for the results any more

	ended chan struct{} // closed at the very end, when the results may be read
	out   []*array
	err   error
}

// begin begins a call.
func (p *program) begin(arguments []any) *call {
	c := &call{program: p, arguments: arguments, ended: make(chan struct{})}
	p.device.usage.begin()
	p.usage.begin()
	for _, a := range arguments {
		if a, is := a.(*array); is {
			a.usage.begin()
		}
	}
	go c.run()
	return c
}

// run executes the program and frees what nobody else does.
func (c *call) run() {
	defer close(c.ended)
	var err error
	c.out, err = c.program.execute(c.arguments)
	errs := []error{err}
	if c.finish() {
		errs = append(errs, free(c.out...))
	}
	for _, a := range c.arguments {
		if a, is := a.(*array); is && a.usage.end() {
			errs = append(errs, a.FinalizeAll())
		}
	}
	if c.program.usage.end() {
		c.program.finalize()
	}
	if c.program.device.usage.end() {
		errs = append(errs, c.program.device.finalize())
	}
	c.err = errors.Join(errs...)
}

// finish finishes a call, and reports whether nobody waits for it any more.
func (c *call) finish() (abandoned bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finished = true
	return c.abandoned
}

// abandon leaves a call to itself. It reports false where the results are there.
func (c *call) abandon() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abandoned = !c.finished
	return c.abandoned
}
