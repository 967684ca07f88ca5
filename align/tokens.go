package align

import "fmt"

// A Layout says how the tokens of a network are laid out: Lead tokens such as
// a class token, then a grid of Rows × Cols. Rows is 0 where there is no grid.
type Layout struct{ Lead, Rows, Cols int }

// Tokens says which tokens of an activation become samples. Groups returns,
// for a tensor of n tokens, the groups of positions whose means are the
// samples; a group of one position is that token itself.
type Tokens interface {
	Groups(l Layout, n int) [][]int
}

type (
	// All keeps every token.
	All struct{}
	// Lead keeps the leading tokens (the class token) of tensors that have
	// them beside the grid, and every token of others.
	Lead struct{}
	// Window keeps the leading tokens and the central Size × Size patches of
	// tensors that hold both, and every token of others. A window wider than
	// the grid is the whole grid; an odd difference rounds the offset down.
	Window struct{ Size int }
	// Pool averages all tokens into one sample.
	Pool struct{}
)

// Groups implements [Tokens].
func (All) Groups(_ Layout, n int) [][]int { return appendSingles(nil, 0, n) }

// Groups implements [Tokens].
func (Lead) Groups(l Layout, n int) [][]int {
	if !l.hasGrid(n) || l.Lead == 0 {
		return appendSingles(nil, 0, n)
	}
	return appendSingles(nil, 0, l.Lead)
}

// Groups implements [Tokens].
func (w Window) Groups(l Layout, n int) [][]int {
	if !l.hasGrid(n) {
		return appendSingles(nil, 0, n)
	}
	groups := appendSingles(nil, 0, l.Lead)
	rows, cols := min(w.Size, l.Rows), min(w.Size, l.Cols)
	top, left := (l.Rows-rows)/2, (l.Cols-cols)/2
	for r := top; r < top+rows; r++ {
		at := l.Lead + r*l.Cols + left
		groups = appendSingles(groups, at, at+cols)
	}
	return groups
}

// Groups implements [Tokens].
func (Pool) Groups(_ Layout, n int) [][]int {
	g := make([]int, n)
	for i := range g {
		g[i] = i
	}
	return [][]int{g}
}

// String returns the notation of the programs, such as window:6.
func (w Window) String() string { return fmt.Sprintf("window:%d", w.Size) }

// hasGrid reports whether a tensor of n tokens holds the leading tokens and a grid.
func (l Layout) hasGrid(n int) bool { return l.Rows > 0 && n == l.Lead+l.Rows*l.Cols }

// appendSingles appends a group of its own for each position from..to-1.
func appendSingles(groups [][]int, from, to int) [][]int {
	for i := from; i < to; i++ {
		groups = append(groups, []int{i})
	}
	return groups
}
