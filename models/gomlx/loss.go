package gomlx

import (
	"github.com/gomlx/compute/dtypes"
	gx "github.com/gomlx/gomlx/core/graph"
)

// meanProbabilities is the weighted mean of softmax(l) over logits l of the same
// shape. No gradient passes it.
func meanProbabilities(logits []*gx.Node, weights []float64) *gx.Node {
	p := gx.ZerosLike(logits[0])
	for i, l := range logits {
		p = gx.Add(p, gx.MulScalar(gx.Softmax(l, -1), weights[i]))
	}
	return gx.StopGradient(p)
}

// crossEntropies are −Σ target log softmax(logits) in nats [..] of logits
// [.., classes] with probabilities of the same shape.
func crossEntropies(logits, target *gx.Node) *gx.Node {
	return gx.ConvertDType(gx.Neg(gx.ReduceSum(gx.Mul(target, gx.LogSoftmax(logits, -1)), -1)), dtypes.Float32)
}

// logitsOf returns what a network puts out, the value of its last node.
func logitsOf(values []*gx.Node) *gx.Node { return values[len(values)-1] }

// crossEntropy is the mean loss in nats of logits [.., classes] over the labels
// [..] that are not models.Ignore. Smoothing s gives every class the probability
// s/classes and the label 1 − s besides.
func crossEntropy(logits, labels *gx.Node, smoothing float64) *gx.Node {
	target := oneHotLabels(logits, labels)
	if smoothing > 0 {
		target = gx.AddScalar(gx.MulScalar(target, 1-smoothing), smoothing/float64(logits.Shape().Dim(-1)))
	}
	return meanOver(labels, crossEntropies(logits, target))
}

// oneHotLabels says of every class whether it is the label: 1 or 0 [.., classes].
func oneHotLabels(logits, labels *gx.Node) *gx.Node {
	return gx.OneHot(gx.MaxScalar(labels, 0), logits.Shape().Dim(-1), dtypes.Float32)
}

// meanOver is the mean of values [..] over the labels that are not models.Ignore.
func meanOver(labels, values *gx.Node) *gx.Node {
	keep := gx.ConvertDType(gx.GreaterOrEqual(labels, gx.ScalarZero(labels.Graph(), labels.DType())), dtypes.Float32)
	return gx.Div(gx.ReduceAllSum(gx.Mul(values, keep)), gx.MaxScalar(gx.ReduceAllSum(keep), 1))
}
