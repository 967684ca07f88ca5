package gomlx

import (
	"sync/atomic"

	gx "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/otfuse/otfuse/models"
)

// A program is a graph function and its compilations, one for every combination
// of argument shapes.
type program struct {
	device    *Device
	what      string // names it in errors and reports: "the forward pass of …"
	exec      *gx.Exec
	compiling atomic.Int32 // compilations that were reported to have begun, and not yet to be done
}

// program makes a program of a graph function, which runs once for each
// compilation and panics as GoMLX does. The caller finalizes it.
func (d *Device) program(what string, build func([]*gx.Node) []*gx.Node) (*program, error) {
	p := &program{device: d, what: what}
	var err error
	p.exec, err = gx.NewExec(d.backend, func(in []*gx.Node) []*gx.Node {
		p.compiling.Add(1)
		d.report(models.Progress{Stage: StageCompile, Item: what, Total: 1})
		return build(in)
	})
	if err != nil {
		return nil, located(what, tidied(err))
	}
	p.exec.SetMaxCache(-1)
	return p, nil
}

// cached returns the program under a key, made where there is none yet.
func (d *Device) cached(key, what string, build func([]*gx.Node) []*gx.Node) (*program, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p, ok := d.cache[key]; ok {
		return p, nil
	}
	p, err := d.program(what, build)
	if err != nil {
		return nil, err
	}
	d.cache[key] = p
	return p, nil
}

// call runs the program on tensors and numbers. The caller frees the results.
func (p *program) call(arguments ...any) (out []*tensors.Tensor, err error) {
	err = recovered(p.what, func() (err error) {
		out, err = p.exec.Call(arguments...)
		return err
	})
	if n := p.compiling.Swap(0); n > 0 {
		p.device.report(models.Progress{Stage: StageCompile, Item: p.what, Done: 1, Total: 1})
	}
	return out, err
}
