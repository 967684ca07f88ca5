package models

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/otfuse/otfuse/graph"
)

// standard returns the text of a config.json with the keys of all families in the
// one form that configurations have. A text that is not an object is returned as it
// is, for the decoder to report.
//
//   - id2label: names that are numbers or booleans become texts; a num_labels
//     without it stands for the names LABEL_0, LABEL_1 and so on, as label2id does.
//   - label2id: numbers may be texts or have a fraction of zero. One that cannot be
//     read is left out, since id2label says the same.
//   - image_size, patch_size: a list of equal sides becomes its side.
//   - hidden_act, activation: other names of the functions that graph has.
//   - rope_parameters: becomes rope_scaling, with rope_theta beside it: see
//     standardRope.
//
// Tensors that are quantised are no parameters of a network as it is declared, so a
// quantization_config is an error.
func standard(text []byte) ([]byte, error) {
	var c map[string]json.RawMessage
	if err := json.Unmarshal(text, &c); err != nil || c == nil {
		return text, nil //nolint:nilerr // what is no object is told by who reads it
	}
	if q := c["quantization_config"]; q != nil && string(q) != "null" {
		return nil, fmt.Errorf("%s: quantization_config: quantised tensors are not supported: "+
			"save the checkpoint dequantised", configName)
	}
	if err := errors.Join(standardLabels(c), standardRope(c), checkProblem(c)); err != nil {
		return nil, err
	}
	for _, key := range []string{"image_size", "patch_size"} {
		if err := standardSide(c, key); err != nil {
			return nil, err
		}
	}
	for _, key := range []string{"hidden_act", "activation", "activation_function"} {
		var name string
		if json.Unmarshal(c[key], &name) == nil {
			c[key] = quoted(string(activation(name)))
		}
	}
	return json.Marshal(c)
}

// activation returns the function of a name. A name that is not known is returned as
// it is, for the graph to refuse.
func activation(name string) graph.Activation {
	switch name {
	case "gelu_python":
		return graph.GELU
	case "gelu_pytorch_tanh", "gelu_fast", "gelu_python_tanh", "gelu_accurate":
		return graph.GELUTanh
	case "swish":
		return graph.SiLU
	}
	return graph.Activation(name)
}

// standardSide replaces a list of equal sides by its side.
func standardSide(c map[string]json.RawMessage, key string) error {
	var sides []int
	if err := json.Unmarshal(c[key], &sides); err != nil || len(sides) == 0 {
		return nil //nolint:nilerr // what is no list stays as it is
	}
	for _, side := range sides {
		if side != sides[0] {
			return fmt.Errorf("%s: %s is %v, want a square", configName, key, sides)
		}
	}
	c[key] = json.RawMessage(strconv.Itoa(sides[0]))
	return nil
}

// mostMadeNames is the number of classes up to which they are given names where a file has
// none, a hundred bytes of memory each.
const mostMadeNames = 1 << 18

// standardLabels brings the keys that name classes into one form.
func standardLabels(c map[string]json.RawMessage) error {
	var names, ids map[string]any
	var n *int
	if json.Unmarshal(c["label2id"], &ids) == nil {
		c["label2id"] = standardIDs(ids)
	}
	if err := json.Unmarshal(c["num_labels"], &n); err == nil && n != nil && (*n < 1 || *n > maxSize) {
		return fmt.Errorf("%s: num_labels is %d, want 1 to %d", configName, *n, maxSize)
	}
	if err := json.Unmarshal(c["id2label"], &names); err != nil && c["id2label"] != nil {
		return nil // neither an object nor null: the decoder reports it
	}
	texts := make(map[string]string, len(names))
	for id, name := range names {
		switch name := name.(type) {
		case string:
			texts[id] = name
		case nil:
			texts[id] = ""
		default:
			texts[id] = fmt.Sprint(name)
		}
	}
	switch {
	case len(texts) > 0:
	case n != nil && *n > mostMadeNames:
		return fmt.Errorf("%s: num_labels is %d without their names in id2label, want 1 to %d", configName, *n, mostMadeNames)
	case n != nil:
		for i := range *n {
			texts[strconv.Itoa(i)] = fmt.Sprint("LABEL_", i)
		}
	default:
		var numbers map[string]int
		_ = json.Unmarshal(c["label2id"], &numbers) // null where it cannot be read
		for name, id := range numbers {
			texts[strconv.Itoa(id)] = name
		}
	}
	if len(texts) == 0 {
		return nil
	}
	var err error
	c["id2label"], err = json.Marshal(texts)
	return err
}

// standardIDs returns a label2id with integers as its values, or null where one of
// them is none.
func standardIDs(ids map[string]any) json.RawMessage {
	numbers := make(map[string]int, len(ids))
	for name, id := range ids {
		v, ok := id.(float64)
		if s, isText := id.(string); isText {
			parsed, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
			v, ok = parsed, err == nil
		}
		if !ok || v != math.Trunc(v) || v < 0 || v > maxSize {
			return json.RawMessage("null")
		}
		numbers[name] = int(v)
	}
	text, err := json.Marshal(numbers)
	if err != nil {
		return json.RawMessage("null")
	}
	return text
}
