package gomlx

import (
	"errors"
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/distributed"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/core/tensors/dtensor"
)

// A Spread says on how many devices of this machine a [Device] computes: GPUs, or
// the four devices that XLA makes of a processor. XLA divides every graph among them
// and adds what makes the result that of one device, to rounding: a loss is the mean
// over the labels of the whole batch, however they are distributed. The zero value is
// one device.
//
// A batch is shared by its samples. One that does not divide by the number of devices
// is an error in a training; a calibration and a score fill it up with samples that
// do not count; elsewhere every device computes all of it.
//
// Checkpoints do not depend on the spread: a training may resume on another number of
// devices. The same bytes come out on the same number only.
type Spread struct {
	Devices int // 0 means 1

	// State has parameters and the moments of a training shared, too: each tensor along
	// the first axis that divides by the number of devices, the rest on all of them. It
	// takes less memory, and more time where devices exchange slowly. Otherwise every
	// device holds all.
	State bool
}

// ErrSpread reports a number of devices that there is not.
var ErrSpread = errors.New("gomlx: these devices are not there")

// ErrUneven reports a batch that cannot be shared evenly by devices.
var ErrUneven = errors.New("gomlx: the batch does not divide among the devices")

// A placed tensor is a *tensors.Tensor on one device, a *dtensor.Tensor on those of a mesh.
type placed interface {
	Shape() shapes.Shape
	FinalizeAll() error
}

// An array is a tensor as a [Device] holds it.
type array struct {
	placed
	usage usage
}

func newArray(t placed) *array { return &array{placed: t} }

// A mesh is a row of devices that compute together; nil is one device.
type mesh struct {
	*distributed.DeviceMesh
	samples *distributed.ShardingSpec // devices share the first axis
	copies  *distributed.ShardingSpec // every device has all
	state   bool                      // see Spread
}

// meshAxis names the only axis of a mesh.
const meshAxis = "devices"

// newMesh returns the mesh of a spread over the devices of a backend.
func newMesh(s Spread, b compute.Backend) (*mesh, error) {
	if s.Devices < 0 || s.Devices > b.NumDevices() {
		return nil, fmt.Errorf("%w: Devices is %d, and %s has %d", ErrSpread, s.Devices, b.Name(), b.NumDevices())
	}
	if s.Devices <= 1 {
		return nil, nil
	}
	row, err := distributed.NewDeviceMesh([]int{s.Devices}, []string{meshAxis})
	if err != nil {
		return nil, located("mesh of devices", err)
	}
	m := &mesh{DeviceMesh: row, copies: distributed.NewReplicatedShardingSpec(row), state: s.State}
	m.samples, err = m.along(0)
	return m, err
}

// devices is the number of devices.
func (m *mesh) devices() int {
	if m == nil {
		return 1
	}
	return m.NumDevices()
}

// filledUp is the least number of samples, from n on, that the devices share evenly.
func (m *mesh) filledUp(n int) int { return (n + m.devices() - 1) / m.devices() * m.devices() }

// even reports a batch of n samples that the devices cannot share evenly.
func (m *mesh) even(n int) error {
	if n%m.devices() != 0 {
		return fmt.Errorf("%w: %d samples, %d devices", ErrUneven, n, m.devices())
	}
	return nil
}

// along has the devices share an axis.
func (m *mesh) along(axis int) (*distributed.ShardingSpec, error) {
	spec := distributed.BuildSpec(m.DeviceMesh)
	for range axis {
		spec = spec.R()
	}
	out, err := spec.S(meshAxis).Done()
	return out, located("mesh of devices", err)
}

// placeTensor puts a tensor, which it owns from then on, where a spec says.
func (m *mesh) placeTensor(t *tensors.Tensor, spec *distributed.ShardingSpec) (*array, error) {
	if m == nil {
		return newArray(t), nil
	}
	out, err := dtensor.ShardTensor(spec, t)
	if err = errors.Join(err, t.FinalizeAll()); err != nil {
		return nil, located("sharing a tensor of shape "+t.Shape().String(), tidied(err))
	}
	return newArray(out), nil
}

// shared puts a tensor of which the first axis are samples.
func (m *mesh) shared(t *tensors.Tensor) (*array, error) {
	if m == nil {
		return newArray(t), nil
	}
	if t.Shape().Dim(0)%m.devices() != 0 {
		return m.placeTensor(t, m.copies)
	}
	return m.placeTensor(t, m.samples)
}

// kept puts a tensor that a device keeps, such as a parameter.
func (m *mesh) kept(t *tensors.Tensor) (*array, error) {
	if m == nil {
		return newArray(t), nil
	}
	spec := m.copies
	for axis, n := range t.Shape().Dimensions {
		if m.state && n%m.devices() == 0 {
			var err error
			if spec, err = m.along(axis); err != nil {
				return nil, err
			}
			break
		}
	}
	return m.placeTensor(t, spec)
}

// zerosLike returns zeros of the shape of an array, which lie as it does.
func zerosLike(a *array) (*array, error) {
	d, shared := a.placed.(*dtensor.Tensor)
	if !shared {
		return newArray(tensors.FromShape(a.Shape())), nil
	}
	shards := make([]*tensors.Tensor, d.NumShards())
	for i := range shards {
		shards[i] = tensors.FromShape(d.ShardShape())
	}
	out, err := dtensor.NewTensor(d.ShardingSpec(), shards)
	if err != nil {
		return nil, located("zeros", tidied(err))
	}
	return newArray(out), nil
}

// merged returns an array as one tensor, to be read before done is called.
func merged(a *array) (t *tensors.Tensor, done func() error, err error) {
	nothing := func() error { return nil }
	d, shared := a.placed.(*dtensor.Tensor)
	switch {
	case !shared:
		return a.placed.(*tensors.Tensor), nothing, nil //nolint:forcetypeassert // it is one of two
	case d.ShardingSpec().IsReplicated():
		return d.Shards()[0], nothing, nil
	}
	if t, err = d.Merge(); err != nil {
		return nil, nothing, located("putting a tensor together", tidied(err))
	}
	return t, t.FinalizeAll, nil
}

// valuesOf copies the values of an array.
func valuesOf[T float32 | float64](a *array) ([]T, error) {
	t, done, err := merged(a)
	if err != nil {
		return nil, err
	}
	data, err := tensors.CopyFlatData[T](t)
	return data, errors.Join(err, done())
}
