package gomlx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gomlx/compute/distributed"
	gx "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/core/tensors/dtensor"

	"github.com/otfuse/otfuse/models"
)

// A computation is what a program compiles.
type computation struct {
	// graph runs once for each compilation and panics as GoMLX does.
	graph func([]*gx.Node) []*gx.Node

	// like returns for each result an argument that it is to lie like on a mesh, nil for
	// copies on all devices; where like is nil, all results are such copies.
	like func(arguments []any) []any
}

// likeFirst has all of n results lie as the first argument does.
func likeFirst(n int) func([]any) []any {
	return func(arguments []any) []any {
		out := make([]any, n)
		for i := range out {
			out[i] = arguments[0]
		}
		return out
	}
}

// A program is a computation and its compilations, one for every combination of
// argument shapes and of how arguments lie on a mesh.
type program struct {
	computation
	device    *Device
	what      string // names it in errors and reports: "the forward pass of …"
	mu        sync.Mutex
	execs     map[string]*gx.Exec // by how arguments lie; "" for one device
	compiling atomic.Int32        // compilations that were reported to have begun, and not yet to be done
	usage     usage
}

// newProgram makes a program. The caller frees it.
func (d *Device) newProgram(what string, c computation) *program {
	return &program{computation: c, device: d, what: what, execs: map[string]*gx.Exec{}}
}

// cached returns the program under a key, made where there is none yet.
func (d *Device) cached(key, what string, c computation) *program {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, ok := d.cache[key]
	if !ok {
		p = d.newProgram(what, c)
		d.cache[key] = p
	}
	return p
}

// call runs the program on arrays and numbers, once the calls that were left to
// themselves have ended. The caller frees the results. At the end of the context the call
// is left to itself; the caller may free its arguments, the program and the device all
// the same.
func (p *program) call(ctx context.Context, arguments ...any) ([]*array, error) {
	if err := p.device.settle(ctx); err != nil {
		return nil, located(p.what, err)
	}
	c := p.begin(arguments)
	select {
	case <-c.ended:
	case <-ctx.Done():
		if c.abandon() {
			p.device.abandon(c)
			return nil, located(p.what, ctx.Err())
		}
		<-c.ended
	}
	return c.out, c.err
}

// execute runs the program on arrays and numbers, and says so where it is compiled.
func (p *program) execute(arguments []any) (out []*array, err error) {
	tensors := slices.Clone(arguments)
	onMesh := false
	for i, a := range arguments {
		if a, is := a.(*array); is {
			tensors[i] = a.placed
			_, shared := a.placed.(*dtensor.Tensor)
			onMesh = onMesh || shared
		}
	}
	err = recovered(p.what, func() (err error) {
		if onMesh {
			out, err = p.callOnMesh(tensors)
		} else {
			out, err = p.callOnDevice(tensors)
		}
		return err
	})
	if n := p.compiling.Swap(0); n > 0 {
		p.device.report(models.Progress{Stage: StageCompile, Item: p.what, Done: 1, Total: 1})
	}
	return out, err
}

func (p *program) callOnDevice(arguments []any) ([]*array, error) {
	exec, err := p.exec("", nil)
	if err != nil {
		return nil, err
	}
	results, err := exec.Call(arguments...)
	return asArrays(results), err
}

// callOnMesh runs the program on the mesh of the device. Arguments that lie on none are
// copied to all of its devices.
func (p *program) callOnMesh(arguments []any) (out []*array, err error) {
	m := p.device.mesh
	var made []*array
	defer func() { err = errors.Join(err, free(made...)) }()
	shared := make([]any, len(arguments))
	given, key := make([]*distributed.ShardingSpec, len(arguments)), &strings.Builder{}
	for i, a := range arguments {
		if t, single := a.(*tensors.Tensor); single {
			d, err := dtensor.ShardTensor(m.copies, t)
			if err != nil {
				return nil, err
			}
			made, a = append(made, newArray(d)), d
		}
		d, ok := a.(*dtensor.Tensor)
		if !ok {
			return nil, fmt.Errorf("argument %d is a %T, which a mesh of devices does not take", i, a)
		}
		shared[i], given[i] = d, d.ShardingSpec()
		fmt.Fprint(key, given[i].Axes)
	}
	exec, err := p.exec(key.String(), func(e *gx.Exec) {
		e.AutoSharding(m.DeviceMesh).WithInputShardingSpecs(given...).WithOutputShardingSpecs(p.results(shared)...)
	})
	if err != nil {
		return nil, err
	}
	results, err := exec.DistributedCall(shared...)
	return asArrays(results), err
}

// results says how results lie on the mesh.
func (p *program) results(arguments []any) []*distributed.ShardingSpec {
	if p.like == nil {
		return []*distributed.ShardingSpec{p.device.mesh.copies} // the last one holds for those that follow
	}
	var out []*distributed.ShardingSpec
	for _, a := range p.like(arguments) {
		spec := p.device.mesh.copies
		if d, shared := a.(*dtensor.Tensor); shared {
			spec = d.ShardingSpec()
		}
		out = append(out, spec)
	}
	return out
}

// exec returns what executes the program for arguments that lie in some way, readied
// where it is new.
func (p *program) exec(key string, ready func(*gx.Exec)) (*gx.Exec, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e, ok := p.execs[key]; ok {
		return e, nil
	}
	e, err := gx.NewExec(p.device.backend, func(in []*gx.Node) []*gx.Node {
		p.compiling.Add(1)
		p.device.report(models.Progress{Stage: StageCompile, Item: p.what, Total: 1})
		return p.graph(in)
	})
	if err != nil {
		return nil, err
	}
	if ready != nil {
		ready(e)
	}
	e.SetMaxCache(-1)
	p.execs[key] = e
	return e, nil
}

// free frees what was compiled, at once or at the end of the last call.
func (p *program) free() {
	if p.usage.free() {
		p.finalize()
	}
}

// finalize frees what was compiled.
func (p *program) finalize() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.execs {
		e.Finalize()
	}
	p.execs = map[string]*gx.Exec{}
}

// asArrays are the results of a call.
func asArrays[T placed](results []T) []*array {
	out := make([]*array, len(results))
	for i, r := range results {
		out[i] = newArray(r)
	}
	return out
}
