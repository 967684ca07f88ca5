package report

import "slices"

// The methods of rows that no recipe makes.
const (
	Parent   = "parent"
	Ensemble = "ensemble"
)

// plain is the method of the mean of models that nothing aligned.
const plain = "vanilla"

// isFusion reports whether a row is a model made of others by alignment.
func isFusion(r Row) bool { return !slices.Contains([]string{Parent, Ensemble, plain}, r.Method) }

// class is the CSS class, and so the colour, of a method.
func class(method string) string {
	if slices.Contains([]string{Parent, Ensemble, plain, "flow", "match", "learned"}, method) {
		return method
	}
	return "other"
}
