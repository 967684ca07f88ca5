package graph_test

import (
	"fmt"

	"github.com/otfuse/otfuse/graph"
)

// A perceptron on patches of one pixel: the map of its hidden layer is solved,
// carried by the activation, and ends at the logits.
func ExampleBuilder() {
	var b graph.Builder
	x := b.Linear("hidden", b.Input("pixels"), 16, graph.Conv(1, 1))
	g, err := b.Output(b.Linear("logits", b.Act("relu", x, graph.ReLU), 10))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(g)
	// Output:
	// t0   = input                  fix               0  pixels
	// t1   = linear  t0             solve            16  hidden
	// t2   = act     t1             carry            16  relu
	// t3   = linear  t2             fix              10  logits
	// t4   = output  t3             fix              10  output
}

// All that is wrong with a checkpoint is told at once.
func ExampleGraph_Check() {
	var b graph.Builder
	g, err := b.Output(b.Linear("logits", b.Input("pixels"), 10, graph.Conv(1, 1)))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(g.Check(map[string][]int{"logits.weight": {10, 3, 1, 1}, "head.bias": {10}}))
	// Output:
	// graph: tensor "logits.weight" of logits has shape [10 3 1 1], want [10 1 1 1]
	// graph: tensor "logits.bias" of logits is missing
	// graph: tensor "head.bias" [10] belongs to no node
}
