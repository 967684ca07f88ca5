package text

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/internal/bounded"
)

// ErrTable reports a table of sentences that cannot be used.
var ErrTable = errors.New("text: bad table")

// A Table holds sentences, each with its label.
type Table struct{ Sentences, Labels []string }

// maxLine is the length of the longest line of a table, in bytes.
const maxLine = 1 << 20

// OpenTable reads a table in the format of GLUE's SST-2 and CoLA: columns
// separated by tabs, with the names of the columns on the first line, among them
// sentence and label. The error is [ErrTable] with the number of the line, or
// [ErrEmpty] where the table has no rows.
func OpenTable(path string) (Table, error) {
	f, err := bounded.Open(path)
	if err != nil {
		return Table{}, fmt.Errorf("text: %w", err)
	}
	defer f.Close()
	t, err := readTable(f)
	if err != nil {
		return Table{}, fmt.Errorf("%w (%s)", err, path)
	}
	return t, nil
}

func readTable(r io.Reader) (Table, error) {
	var t Table
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	sentence, label := -1, -1
	for n := 1; lines.Scan(); n++ {
		cells := strings.Split(lines.Text(), "\t")
		if n == 1 {
			sentence, label = slices.Index(cells, "sentence"), slices.Index(cells, "label")
			if sentence < 0 || label < 0 {
				return t, fmt.Errorf("%w: its head is %q, want columns sentence and label", ErrTable, lines.Text())
			}
			continue
		}
		if len(cells) <= max(sentence, label) || cells[label] == "" {
			return t, fmt.Errorf("%w: line %d has no label", ErrTable, n)
		}
		t.Sentences, t.Labels = append(t.Sentences, cells[sentence]), append(t.Labels, cells[label])
	}
	switch err := lines.Err(); {
	case err != nil:
		return t, fmt.Errorf("%w: %w", ErrTable, err)
	case len(t.Labels) == 0:
		return t, fmt.Errorf("%w: a table without sentences", ErrEmpty)
	}
	return t, nil
}

// Classes returns the different labels, in alphabetical order.
func (t Table) Classes() []string {
	c := slices.Sorted(slices.Values(t.Labels))
	return slices.Compact(c)
}

// IDs returns the index of every label among the classes [N]. A label that is
// none of them is [ErrTable].
func (t Table) IDs(classes []string) ([]int32, error) {
	out := make([]int32, len(t.Labels))
	for i, l := range t.Labels {
		k := slices.Index(classes, l)
		if k < 0 {
			return nil, fmt.Errorf("%w: label %q of sentence %d is none of %s", ErrTable, l, i+1, strings.Join(classes, ", "))
		}
		out[i] = int32(k)
	}
	return out, nil
}
