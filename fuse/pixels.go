package fuse

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/otfuse/otfuse/models/safetensors"
)

// processorFile says how images become the input of a network.
const processorFile = "preprocessor_config.json"

// A pixelScale turns the byte p of a channel into (p·factor - mean) / std.
type pixelScale struct {
	factor    float64
	mean, std []float64 // of each channel, or one for all
}

// pixelScaleOf reads the normalisation of images from the files of a checkpoint; nil
// where they do not say it. What is left out is as in transformers.
func pixelScaleOf(files map[string][]byte) (*pixelScale, error) {
	text, ok := files[processorFile]
	if !ok {
		return nil, nil //nolint:nilnil // nothing is said
	}
	if kind := safetensors.Describe(text); kind != "" {
		return nil, fmt.Errorf("%s: it is %s", processorFile, kind)
	}
	var c struct {
		Kind      string          `json:"image_processor_type"`
		OldKind   string          `json:"feature_extractor_type"`
		Rescale   *bool           `json:"do_rescale"`
		Factor    *float64        `json:"rescale_factor"`
		Normalise *bool           `json:"do_normalize"`
		Mean      json.RawMessage `json:"image_mean"`
		Std       json.RawMessage `json:"image_std"`
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", processorFile, err)
	}
	out := &pixelScale{1. / 255, []float64{0}, []float64{1}}
	if c.Factor != nil {
		out.factor = *c.Factor
	}
	if c.Rescale != nil && !*c.Rescale {
		out.factor = 1
	}
	if c.Normalise == nil || *c.Normalise {
		out.mean, out.std = []float64{0.5}, []float64{0.5}
		if strings.HasPrefix(c.Kind+c.OldKind, "DeiT") {
			out.mean, out.std = []float64{0.485, 0.456, 0.406}, []float64{0.229, 0.224, 0.225}
		}
		err := errors.Join(readChannels("image_mean", c.Mean, &out.mean), readChannels("image_std", c.Std, &out.std))
		if err != nil {
			return nil, err
		}
	}
	for _, v := range out.std {
		if !(v > 0) {
			return nil, fmt.Errorf("%s: image_std is %v, want positive numbers", processorFile, out.std)
		}
	}
	if !(out.factor > 0) {
		return nil, fmt.Errorf("%s: rescale_factor is %v, want a positive number", processorFile, out.factor)
	}
	return out, nil
}

// readChannels reads a number for each channel, or one for all.
func readChannels(key string, text json.RawMessage, to *[]float64) error {
	if len(text) == 0 || string(text) == "null" {
		return nil
	}
	var one float64
	if json.Unmarshal(text, &one) == nil {
		*to = []float64{one}
		return nil
	}
	var all []float64
	if err := json.Unmarshal(text, &all); err != nil || len(all) == 0 {
		return fmt.Errorf("%s: %s is %.100s, want numbers", processorFile, key, text)
	}
	*to = all
	return nil
}

// of returns the factor and the offset of a channel: the byte p becomes factor·p +
// offset.
func (s pixelScale) of(c int) (factor, offset float64) {
	mean, std := s.mean[min(c, len(s.mean)-1)], s.std[min(c, len(s.std)-1)]
	return s.factor / std, -mean / std
}

// from returns the factor and the offset that turn a pixel as other scales it into one
// as s does.
func (s pixelScale) from(other pixelScale, c int) (factor, offset float64) {
	factor, offset = s.of(c)
	f, o := other.of(c)
	return factor / f, offset - o*factor/f
}

// covers reports whether the scale says something of every channel.
func (s pixelScale) covers(channels int) bool {
	fits := func(n int) bool { return n == 1 || n == channels }
	return fits(len(s.mean)) && fits(len(s.std))
}

// equal reports whether two scales are the same to rounding.
func (s pixelScale) equal(other pixelScale) bool {
	n := max(len(s.mean), len(s.std), len(other.mean), len(other.std))
	for c := range n {
		factor, offset := s.from(other, c)
		if math.Abs(factor-1) > 1e-12 || math.Abs(offset) > 1e-12 {
			return false
		}
	}
	return true
}

// String returns the scale in the words of the file.
func (s pixelScale) String() string {
	return fmt.Sprintf("mean %.4g, std %.4g, factor %.4g", s.mean, s.std, s.factor)
}
