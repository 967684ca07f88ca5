package vision

import (
	"context"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/gomlx"
)

// The pixels of a batch that is scored, of 500 images of CIFAR, and of the
// images that are decoded ahead of that.
const (
	scorePixels  = 500 * 32 * 32
	decodePixels = 20 << 20
)

// ScoreBatch is the number of test images scored at a time.
func (i Images) ScoreBatch() int { return max(scorePixels/(i.Test.H*i.Test.W), 1) }

// Score scores a network, or several as their ensemble, on all test images. They
// are decoded portion by portion, the next one while one is scored.
func (i Images) Score(ctx context.Context, device *gomlx.Device, ms ...*models.Model) (gomlx.Score, error) {
	portion := max(decodePixels/(i.Test.H*i.Test.W)/i.ScoreBatch(), 1) * i.ScoreBatch()
	return i.scoreBy(ctx, device, portion, ms...)
}

// scoreBy is Score with so many images in a portion.
func (i Images) scoreBy(ctx context.Context, device *gomlx.Device, portion int, ms ...*models.Model) (gomlx.Score, error) {
	n := i.Test.Len()
	decode := data.Prefetch(1, func(step int) (models.Batch, error) {
		var idx []int
		for k := step * portion; k < min((step+1)*portion, n); k++ {
			idx = append(idx, k)
		}
		return i.Pick(i.Test, idx)
	})
	var sum gomlx.Score
	for step := range (n + portion - 1) / portion {
		b, err := decode(step)
		if err != nil {
			return gomlx.Score{}, err
		}
		s, err := device.Evaluate(ctx, b, i.ScoreBatch(), ms...)
		if err != nil {
			return gomlx.Score{}, err
		}
		sum = sum.Plus(s)
	}
	return sum, nil
}
