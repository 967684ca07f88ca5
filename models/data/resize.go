package data

// resize scales an image until it just covers h × w and cuts out the middle:
// bilinear interpolation where it grows, the average over the area of a pixel
// where it shrinks. The weights are integers, so the result is exact and the
// same on every machine.
func (m rgb) resize(h, w int) rgb {
	// The scale is num/den, that of the axis that has to grow the most.
	num, den := h, m.h
	if w*m.h > h*m.w {
		num, den = w, m.w
	}
	rows, cols := newTaps(h, m.h, num, den), newTaps(w, m.w, num, den)
	out := rgb{make([]byte, 3*h*w), h, w}
	total := rows.total * cols.total
	for c := range 3 {
		n := narrowed{plane: m.pix[c*m.h*m.w:][:m.h*m.w], width: m.w, cols: cols, row: [2]int{-1, -1}}
		for y := range h {
			sums := make([]int64, w)
			for k, weight := range rows.weights[y] {
				for x, v := range n.at(rows.start[y] + k) {
					sums[x] += weight * v
				}
			}
			for x, sum := range sums {
				out.pix[(c*h+y)*w+x] = byte((sum + total/2) / total)
			}
		}
	}
	return out
}

// narrowed scales the rows of a plane when they are asked for. It keeps the last even
// and the last odd one, as output rows that are next to each other share at most two.
type narrowed struct {
	plane  []byte
	width  int
	cols   taps
	row    [2]int // which rows are kept; -1 for none
	values [2][]int64
}

// at returns row y of the plane, scaled.
func (n *narrowed) at(y int) []int64 {
	slot := y % 2
	if n.row[slot] == y {
		return n.values[slot]
	}
	if n.values[slot] == nil {
		n.values[slot] = make([]int64, len(n.cols.weights))
	}
	n.row[slot] = y
	row := n.plane[y*n.width:][:n.width]
	for x, weights := range n.cols.weights {
		var sum int64
		for k, weight := range weights {
			sum += weight * int64(row[n.cols.start[x]+k])
		}
		n.values[slot][x] = sum
	}
	return n.values[slot]
}

// taps are the input pixels, with their weights, that make up each output pixel
// along one axis.
type taps struct {
	start   []int
	weights [][]int64 // they sum to total
	total   int64
}

// newTaps describes n output pixels from the middle of size input pixels at the
// scale num/den. Positions are in units of 1/(2·num) input pixel, so that all of
// them are integers: an input pixel is 2·num wide, an output pixel 2·den.
func newTaps(n, size, num, den int) taps {
	t := taps{start: make([]int, n), weights: make([][]int64, n), total: int64(2 * max(num, den))}
	offset := size*num - n*den
	for i := range n {
		from := offset + 2*den*i
		if den > num {
			t.start[i], t.weights[i] = areaTaps(from, from+2*den, 2*num)
			continue
		}
		t.start[i], t.weights[i] = linearTaps(from+den, size, num)
	}
	return t
}

// areaTaps weights the input pixels of a width by their overlap with [from, to).
func areaTaps(from, to, width int) (int, []int64) {
	first, last := from/width, (to-1)/width
	weights := make([]int64, last-first+1)
	for k := range weights {
		left := (first + k) * width
		weights[k] = int64(min(to, left+width) - max(from, left))
	}
	return first, weights
}

// linearTaps weights the two input pixels next to a centre. Beyond the border it
// takes the border pixel alone.
func linearTaps(centre, size, num int) (int, []int64) {
	at := min(max(centre-num, 0), (size-1)*2*num)
	first, rest := at/(2*num), int64(at%(2*num))
	if rest == 0 {
		return first, []int64{int64(2 * num)}
	}
	return first, []int64{int64(2*num) - rest, rest}
}
