package safetensors

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

const (
	maxHeader   = 100_000_000 // bytes; the limit of the format
	metadataKey = "__metadata__"
)

// entry is the description of one tensor in a header. Offsets are bytes from the start
// of the data.
type entry struct {
	dtype      DType
	shape      []int
	begin, end int64
}

type header struct {
	entries  map[string]entry
	metadata map[string]string
}

// parseHeader reads a header whose data section is dataLen bytes long.
func parseHeader(text []byte, dataLen int64) (header, error) {
	h := header{entries: map[string]entry{}, metadata: map[string]string{}}
	if len(text) == 0 || text[0] != '{' {
		return h, malformed("", "header does not start with {")
	}
	r, err := newJSONReader(text)
	if err != nil {
		return h, malformed("", "header: %v", err)
	}
	var faulty string // the tensor that an error is in
	err = r.object(func(key string) error {
		if key == metadataKey {
			if err := r.stringMap(h.metadata); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			return nil
		}
		e, err := r.tensorEntry()
		if err != nil {
			faulty = key
		}
		h.entries[key] = e
		return err
	})
	if err != nil {
		return h, malformed(faulty, "header: %v", err)
	}
	return h, h.checkOffsets(dataLen)
}

// stringMap reads an object of strings.
func (r jsonReader) stringMap(into map[string]string) error {
	return r.object(func(key string) error {
		value, err := r.text()
		if err != nil {
			return fmt.Errorf("key %.200q: %w", key, err)
		}
		into[key] = value
		return nil
	})
}

// tensorEntry reads the description of one tensor and checks that it agrees with
// itself.
func (r jsonReader) tensorEntry() (entry, error) {
	var e entry
	var shape, offsets []int64
	err := r.object(func(key string) error {
		var err error
		switch key {
		case "dtype":
			var s string
			s, err = r.text()
			e.dtype = DType(s)
		case "shape":
			shape, err = r.integers(maxRank)
		case "data_offsets":
			offsets, err = r.integers(2)
		default:
			return fmt.Errorf("unknown key %.40q", key)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	if err != nil {
		return e, err
	}
	if e.dtype == "" || shape == nil || len(offsets) != 2 {
		return e, fmt.Errorf("want dtype, shape and two data_offsets")
	}
	e.shape = make([]int, len(shape))
	for i, n := range shape {
		if n > math.MaxInt {
			return e, fmt.Errorf("shape[%d] is %d, too large", i, n)
		}
		e.shape[i] = int(n)
	}
	e.begin, e.end = offsets[0], offsets[1]
	want, err := byteLen(e.dtype, e.shape)
	if err != nil {
		return e, err
	}
	if e.begin > e.end || e.end-e.begin != want {
		return e, fmt.Errorf("%s %v needs %d bytes, data_offsets are %v", e.dtype, e.shape, want, offsets)
	}
	return e, nil
}

// checkOffsets reports tensors that do not cover the data exactly: it may have
// neither gaps nor overlaps.
func (h header) checkOffsets(dataLen int64) error {
	names := make([]string, 0, len(h.entries))
	for name := range h.entries {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		x, y := h.entries[a], h.entries[b]
		return cmp.Or(cmp.Compare(x.begin, y.begin), cmp.Compare(x.end, y.end), cmp.Compare(a, b))
	})
	var pos int64
	for _, name := range names {
		e := h.entries[name]
		switch {
		case e.end > dataLen:
			return malformed(name, "data_offsets [%d %d] end after the data, %d bytes long: "+
				"the file is truncated or its header wrong", e.begin, e.end, dataLen)
		case e.begin < pos:
			return malformed(name, "data_offsets [%d %d] overlap the tensor before, which ends at %d",
				e.begin, e.end, pos)
		case e.begin > pos:
			return malformed(name, "data_offsets [%d %d] leave a hole after %d", e.begin, e.end, pos)
		}
		pos = e.end
	}
	if pos != dataLen {
		return malformed("", "%d bytes of data belong to no tensor", dataLen-pos)
	}
	return nil
}
