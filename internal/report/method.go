package report

import "slices"

// The methods of rows that no recipe makes.
const (
	Parent   = "parent"
	Ensemble = "ensemble"
	Shrunk   = "shrunk" // the anchor with its weights scaled by its share of a fused model
	Drawn    = "drawn"  // a network that was drawn at random
	Random   = "random" // one that was made of a larger one by maps that were drawn
)

// distil is the method of a model that was trained on the answers of all parents.
const distil = "distil"

// head is the method of an anchor whose output layer was fitted to the answers of all
// parents.
const head = "head"

// plain is the method of the mean of models that nothing aligned.
const plain = "vanilla"

// isFusion reports whether a row is a model made of others by alignment.
func isFusion(r Row) bool {
	return !slices.Contains([]string{Parent, Ensemble, plain, Shrunk, Drawn, Random, head, distil}, r.Method)
}

// class is the CSS class, and so the colour, of a method.
func class(method string) string {
	if slices.Contains([]string{Parent, Ensemble, plain, "flow", "match", "learned", distil, Shrunk}, method) {
		return method
	}
	return "other"
}
