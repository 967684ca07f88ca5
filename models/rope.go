package models

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/otfuse/otfuse/graph"
)

// A RopeScaling says how the frequencies of rotary positions are stretched to longer
// texts than a model was first trained on, as rope_scaling of config.json does.
type RopeScaling struct {
	Type         string   `json:"rope_type"`                                  // default, linear, llama3 or yarn
	Factor       float64  `json:"factor,omitempty"`                           // longer by so much
	Original     int      `json:"original_max_position_embeddings,omitempty"` // tokens before; 0 means as many as now
	Low          float64  `json:"low_freq_factor,omitempty"`                  // llama3: Original/Low is a long wave
	High         float64  `json:"high_freq_factor,omitempty"`                 // llama3: Original/High is a short wave
	BetaFast     float64  `json:"beta_fast,omitempty"`                        // yarn: turns of a fast wave; 0 means 32
	BetaSlow     float64  `json:"beta_slow,omitempty"`                        // yarn: turns of a slow wave; 0 means 1
	Attention    *float64 `json:"attention_factor,omitempty"`                 // yarn: of queries and keys
	Scale        float64  `json:"mscale,omitempty"`                           // yarn: gives the factor where it is nil
	ScaleAllDims float64  `json:"mscale_all_dim,omitempty"`
	Truncate     *bool    `json:"truncate,omitempty"` // yarn: bounds are whole planes; nil means true
}

// rope returns the rotary positions of heads of which so many units are turned.
// positions is the length of text that the configuration names.
func (s *RopeScaling) rope(theta float64, units, positions int) (graph.Rope, error) {
	if !(theta > 1) || math.IsInf(theta, 0) {
		return graph.Rope{}, fmt.Errorf("config.json: rope_theta is %g, want more than 1", theta)
	}
	if units < 2 || units%2 != 0 {
		return graph.Rope{}, fmt.Errorf("config.json: rotary positions turn %d units of each head, want an even number",
			units)
	}
	r := graph.Rope{Factor: 1}
	for i := range units / 2 {
		r.Frequencies = append(r.Frequencies, math.Pow(theta, -2*float64(i)/float64(units)))
	}
	if s == nil || s.Type == "" || s.Type == "default" {
		return r, nil
	}
	switch s.Type {
	case "linear", "llama3", "yarn":
	default:
		return r, fmt.Errorf("config.json: rope_type %q is not supported (supported: default, linear, llama3, yarn)", s.Type)
	}
	own := *s
	if own.Original == 0 {
		own.Original = positions
	}
	if own.Type == "yarn" && own.Factor == 0 {
		own.Factor = float64(positions) / float64(own.Original)
	}
	if !(own.Factor > 0) || math.IsInf(own.Factor, 0) {
		return r, fmt.Errorf("config.json: factor of rope_type %s is %g, want more than 0", s.Type, own.Factor)
	}
	switch s.Type {
	case "llama3":
		return r, own.llama3(r.Frequencies)
	case "yarn":
		return own.yarn(r, theta)
	}
	for i := range r.Frequencies {
		r.Frequencies[i] /= own.Factor
	}
	return r, nil
}

// llama3 divides the frequencies of long waves by the factor, in place, leaves short
// ones alone and mixes both between them (Grattafiori et al., "The Llama 3 Herd of
// Models", 2024).
func (s RopeScaling) llama3(frequencies []float64) error {
	if !(s.Low > 0 && s.High > s.Low) || s.Original <= 0 {
		return fmt.Errorf("config.json: rope_type llama3 has low_freq_factor %g, high_freq_factor %g and "+
			"original_max_position_embeddings %d, want 0 < low < high and more than 0 positions", s.Low, s.High, s.Original)
	}
	for i, f := range frequencies {
		waves := float64(s.Original) * f / (2 * math.Pi) // in the original length
		smooth := min(max((waves-s.Low)/(s.High-s.Low), 0), 1)
		frequencies[i] = (1-smooth)*f/s.Factor + smooth*f
	}
	return nil
}

// yarn divides the frequencies of planes beyond a ramp by the factor, leaves those
// before it alone, and makes queries and keys larger (Peng et al., "YaRN: Efficient
// Context Window Extension of Large Language Models", 2023).
func (s RopeScaling) yarn(r graph.Rope, theta float64) (graph.Rope, error) {
	fast, slow := s.BetaFast, s.BetaSlow
	if fast == 0 {
		fast = 32
	}
	if slow == 0 {
		slow = 1
	}
	if !(fast > 0 && slow > 0) || s.Original <= 0 {
		return r, fmt.Errorf("config.json: rope_type yarn has beta_fast %g, beta_slow %g and "+
			"original_max_position_embeddings %d, want more than 0", s.BetaFast, s.BetaSlow, s.Original)
	}
	units := 2 * float64(len(r.Frequencies))
	plane := func(turns float64) float64 { // that turns so often in the original length
		return units * math.Log(float64(s.Original)/(turns*2*math.Pi)) / (2 * math.Log(theta))
	}
	from, to := plane(fast), plane(slow)
	if s.Truncate == nil || *s.Truncate {
		from, to = math.Floor(from), math.Ceil(to)
	}
	from, to = max(from, 0), min(to, units-1)
	if from == to {
		to += 0.001
	}
	for i, f := range r.Frequencies {
		ramp := min(max((float64(i)-from)/(to-from), 0), 1)
		r.Frequencies[i] = ramp*f/s.Factor + (1-ramp)*f
	}
	r.Factor = s.attentionFactor()
	return r, nil
}

// attentionFactor returns the factor of queries and keys under yarn.
func (s RopeScaling) attentionFactor() float64 {
	scale := func(by float64) float64 {
		if s.Factor <= 1 {
			return 1
		}
		return 0.1*by*math.Log(s.Factor) + 1
	}
	switch {
	case s.Attention != nil:
		return *s.Attention
	case s.Scale != 0 && s.ScaleAllDims != 0:
		return scale(s.Scale) / scale(s.ScaleAllDims)
	}
	return scale(1)
}

// standardRope brings the keys of rotary positions into the form that configurations
// have. transformers writes rope_parameters, earlier versions rope_scaling, and both
// understand rope_scaling with rope_theta, or rotary_emb_base and rotary_pct, beside
// it. The type of a scaling was "type" before it was "rope_type".
func standardRope(c map[string]json.RawMessage) error {
	key := "rope_parameters"
	if s := c["rope_scaling"]; s != nil && string(s) != "null" {
		key = "rope_scaling"
	}
	var rope map[string]json.RawMessage
	if c[key] == nil {
		return nil
	}
	if err := json.Unmarshal(c[key], &rope); err != nil {
		return fmt.Errorf("%s: %s: %w", configName, key, err)
	}
	for name, value := range rope {
		if len(value) > 0 && value[0] == '{' {
			return fmt.Errorf("%s: %s: %q has rotary positions of its own, which is not supported", configName, key, name)
		}
	}
	for name, others := range map[string][]string{"rope_theta": {"rope_theta", "rotary_emb_base"},
		"partial_rotary_factor": {"partial_rotary_factor", "rotary_pct"}} {
		if value := rope[name]; value != nil && string(value) != "null" {
			for _, other := range others {
				c[other] = value
			}
		}
		delete(rope, name)
	}
	if old, ok := rope["type"]; ok && rope["rope_type"] == nil {
		rope["rope_type"] = old
	}
	delete(rope, "type")
	if kind := string(rope["rope_type"]); kind == `"default"` || kind == "" || kind == "null" {
		delete(c, "rope_scaling")
		return nil
	}
	text, err := json.Marshal(rope)
	c["rope_scaling"] = text
	return err
}
