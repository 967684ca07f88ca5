package gomlx

import (
	"github.com/gomlx/compute/dtypes"
	gx "github.com/gomlx/gomlx/core/graph"

	"github.com/otfuse/otfuse/models"
)

// A criterion says what the logits [.., classes] of a network mean, and compares them
// with what they should be: targets of the shape of the logits.
type criterion interface {
	// answer is what logits say: probabilities, or numbers.
	answer(logits *gx.Node) *gx.Node
	// target is what an answer should be by the labels. Smoothing s moves the share s of
	// the probability to all answers alike.
	target(logits, labels *gx.Node, smoothing float64) *gx.Node
	// losses of logits [..].
	losses(logits, target *gx.Node) *gx.Node
	// lossesOf are those of answers, such as the mean of several networks.
	lossesOf(answers, target *gx.Node) *gx.Node
	// right is the share of the answers that the labels confirm [..].
	right(answers, labels *gx.Node) *gx.Node
}

// criterionOf returns the criterion for what the logits of m mean.
func criterionOf(m *models.Model) criterion {
	switch m.ProblemType() {
	case models.Regression:
		return numbers{}
	case models.MultiLabel:
		return independent{}
	}
	return exclusive{}
}

// leastProbability keeps logarithms finite.
const leastProbability = 1e-37

// Classes of which one is right: softmax and cross entropy in nats.
type exclusive struct{}

func (exclusive) answer(logits *gx.Node) *gx.Node { return gx.Softmax(logits, -1) }

func (exclusive) target(logits, labels *gx.Node, smoothing float64) *gx.Node {
	target := gx.OneHot(gx.MaxScalar(labels, 0), logits.Shape().Dim(-1), dtypes.Float32)
	if smoothing > 0 {
		target = gx.AddScalar(gx.MulScalar(target, 1-smoothing), smoothing/float64(logits.Shape().Dim(-1)))
	}
	return target
}

func (exclusive) losses(logits, target *gx.Node) *gx.Node {
	return gx.ConvertDType(gx.Neg(gx.ReduceSum(gx.Mul(target, gx.LogSoftmax(logits, -1)), -1)), dtypes.Float32)
}

func (exclusive) lossesOf(answers, target *gx.Node) *gx.Node {
	return gx.Neg(gx.ReduceSum(gx.Mul(target, gx.Log(gx.MaxScalar(answers, leastProbability))), -1))
}

func (exclusive) right(answers, labels *gx.Node) *gx.Node {
	return gx.ConvertDType(gx.Equal(gx.ArgMax(answers, -1, labels.DType()), labels), dtypes.Float32)
}

// Classes that are right or wrong each by itself: the logistic function and the mean
// binary cross entropy over the classes, in nats.
type independent struct{}

func (independent) answer(logits *gx.Node) *gx.Node { return gx.Sigmoid(logits) }

func (independent) target(logits, labels *gx.Node, smoothing float64) *gx.Node {
	return gx.AddScalar(gx.MulScalar(shapedAs(logits, labels), 1-smoothing), smoothing/2)
}

func (independent) losses(logits, target *gx.Node) *gx.Node {
	return gx.ReduceMean(gx.Sub(gx.Softplus(logits), gx.Mul(target, logits)), -1)
}

func (independent) lossesOf(answers, target *gx.Node) *gx.Node {
	logarithm := func(p *gx.Node) *gx.Node { return gx.Log(gx.MaxScalar(p, leastProbability)) }
	return gx.Neg(gx.ReduceMean(gx.Add(gx.Mul(target, logarithm(answers)),
		gx.Mul(gx.OneMinus(target), logarithm(gx.OneMinus(answers)))), -1))
}

func (independent) right(answers, labels *gx.Node) *gx.Node {
	likely := func(x *gx.Node) *gx.Node {
		return gx.ConvertDType(gx.GreaterThan(x, gx.Scalar(x.Graph(), x.DType(), 0.5)), dtypes.Float32)
	}
	wrong := gx.Abs(gx.Sub(likely(answers), likely(shapedAs(answers, labels))))
	return gx.OneMinus(gx.ReduceMean(wrong, -1))
}

// Numbers: the mean squared error over the outputs. Nothing is right or wrong.
type numbers struct{}

func (numbers) answer(logits *gx.Node) *gx.Node { return logits }

func (numbers) target(logits, labels *gx.Node, _ float64) *gx.Node { return shapedAs(logits, labels) }

func (numbers) losses(logits, target *gx.Node) *gx.Node {
	return gx.ReduceMean(gx.Square(gx.Sub(logits, target)), -1)
}

func (n numbers) lossesOf(answers, target *gx.Node) *gx.Node { return n.losses(answers, target) }

func (numbers) right(answers, _ *gx.Node) *gx.Node { return gx.ZerosLike(gx.ReduceMean(answers, -1)) }

// shapedAs returns labels in the shape of logits: those of a single output may lack its
// axis.
func shapedAs(logits, labels *gx.Node) *gx.Node {
	return gx.ConvertDType(gx.Reshape(labels, logits.Shape().Clone().Dimensions...), logits.DType())
}

// meanAnswer is the weighted mean of what logits of the same shape say.
func meanAnswer(c criterion, logits []*gx.Node, weights []float64) *gx.Node {
	mean := gx.ZerosLike(logits[0])
	for i, l := range logits {
		mean = gx.Add(mean, gx.MulScalar(c.answer(l), weights[i]))
	}
	return mean
}

// meanOver is the mean of values [..] over the labels that are not models.Ignore.
// Labels that are floats count all.
func meanOver(labels, values *gx.Node) *gx.Node {
	if labels.DType().IsFloat() {
		return gx.ReduceAllMean(values)
	}
	keep := gx.ConvertDType(gx.GreaterOrEqual(labels, gx.ScalarZero(labels.Graph(), labels.DType())), dtypes.Float32)
	return gx.Div(gx.ReduceAllSum(gx.Mul(values, keep)), gx.MaxScalar(gx.ReduceAllSum(keep), 1))
}

// logitsOf returns what a network puts out, the value of its last node.
func logitsOf(values []*gx.Node) *gx.Node { return values[len(values)-1] }
