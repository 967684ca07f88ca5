package safetensors_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/models/safetensors"
)

// A tensor is written as float16 and read back. Opening a file reads its header
// alone.
func Example() {
	dir, err := os.MkdirTemp("", "safetensors")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, safetensors.SingleName)
	weight, err := safetensors.FromFloat32(safetensors.F16, []int{2, 2}, []float32{1, -0.5, 0.1, 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := safetensors.WriteFile(file, map[string]safetensors.Tensor{"weight": weight}, nil); err != nil {
		fmt.Println(err)
		return
	}

	checkpoint, err := safetensors.OpenDir(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer checkpoint.Close()
	for _, name := range checkpoint.Names() {
		tensor, err := checkpoint.Tensor(name)
		if err != nil {
			fmt.Println(err)
			return
		}
		values, err := tensor.Float32s()
		fmt.Println(name, tensor.DType, tensor.Shape, values, err)
	}
	// Output:
	// weight F16 [2 2] [1 -0.5 0.099975586 3] <nil>
}

// A checkpoint whose tensors are spread over several files reads like one file.
func ExampleOpenDir() {
	dir, err := os.MkdirTemp("", "checkpoint")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	shards := map[string]string{"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
	for tensor, shard := range shards {
		t, err := safetensors.FromFloat32(safetensors.F32, []int{1}, []float32{7})
		if err != nil {
			fmt.Println(err)
			return
		}
		one := map[string]safetensors.Tensor{tensor: t}
		if err := safetensors.WriteFile(filepath.Join(dir, shard), one, nil); err != nil {
			fmt.Println(err)
			return
		}
	}
	index := fmt.Appendf(nil, `{"weight_map": {"a": %q, "b": %q}}`, shards["a"], shards["b"])
	if err := os.WriteFile(filepath.Join(dir, safetensors.IndexName), index, 0o600); err != nil {
		fmt.Println(err)
		return
	}

	c, err := safetensors.OpenDir(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	dtype, shape, err := c.Info("b")
	fmt.Println(c.Names(), dtype, shape, err)
	// Output:
	// [a b] F32 [1] <nil>
}

// What is wrong with a file is told with the tensor that it is wrong with. Here
// the header claims more bytes than there are.
func ExampleFormatError() {
	header := `{"weight":{"dtype":"F32","shape":[1000],"data_offsets":[0,4000]}}`
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	file = append(file, header...)
	_, err := safetensors.Parse(bytes.NewReader(file), int64(len(file)))
	var bad *safetensors.FormatError
	fmt.Println(errors.As(err, &bad))
	fmt.Println(bad.Tensor, bad.Path == "")
	// Output:
	// true
	// weight true
}
