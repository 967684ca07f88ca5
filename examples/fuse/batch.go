package main

import (
	"math/rand/v2"

	"github.com/otfuse/otfuse/models"
)

// shuffled deals data in batches of equal size, in a new order after each pass.
func shuffled(data models.Batch, size int) func(step int) (models.Batch, error) {
	n := data.Len()
	size = min(size, n)
	return func(step int) (models.Batch, error) {
		each := n / size
		order := rand.New(rand.NewPCG(uint64(step/each), 11)).Perm(n)
		return data.Pick(order[step%each*size : (step%each+1)*size]), nil
	}
}
