package data

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// ProcessorFile is the file of a checkpoint that says how its images are
// prepared, an [ImageProcessor].
const ProcessorFile = "preprocessor_config.json"

// An ImageProcessor says how images become the pixel_values of a network, as
// preprocessor_config.json of Hugging Face does: they are scaled to Size and
// normalised by Norm. It is read and written as JSON:
//
//	var p data.ImageProcessor
//	err := json.Unmarshal(model.Files[data.ProcessorFile], &p)
//
// Reading takes the keys do_resize, size, do_rescale, rescale_factor,
// do_normalize, image_mean and image_std, with the defaults of ViTImageProcessor,
// and ignores all others. A rescale_factor other than 1/255 becomes a part of Norm.
// Sizes below 1, deviations that are not positive and numbers that are not
// finite are errors. Images that are not of the shape of Size are scaled to cover
// it and cut, where transformers stretches them.
type ImageProcessor struct {
	Size Size // of the images; the zero value leaves them as they are
	Norm Norm
}

// processorConfig is the part of preprocessor_config.json that is read and
// written.
type processorConfig struct {
	Type      string          `json:"image_processor_type"`
	Normalise bool            `json:"do_normalize"`
	Rescale   bool            `json:"do_rescale"`
	Factor    float64         `json:"rescale_factor"`
	Resize    bool            `json:"do_resize"`
	Size      json.RawMessage `json:"size"`
	Mean      []float32       `json:"image_mean"`
	Std       []float32       `json:"image_std"`
}

// MarshalJSON writes the processor as that of a vision transformer.
func (p ImageProcessor) MarshalJSON() ([]byte, error) {
	size, err := json.Marshal(map[string]int{"height": p.Size.H, "width": p.Size.W})
	if err != nil {
		return nil, err
	}
	return json.Marshal(processorConfig{
		Type: "ViTImageProcessor", Normalise: true, Rescale: true, Factor: 1. / 255,
		Resize: p.Size != Size{}, Size: size, Mean: p.Norm.Mean[:], Std: p.Norm.Std[:],
	})
}

// UnmarshalJSON reads a preprocessor_config.json.
func (p *ImageProcessor) UnmarshalJSON(text []byte) error {
	c := processorConfig{
		Normalise: true, Rescale: true, Factor: 1. / 255, Resize: true, Size: json.RawMessage("224"),
		Mean: []float32{0.5}, Std: []float32{0.5},
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("data: %s: %w", ProcessorFile, err)
	}
	size, err := c.size()
	if err != nil {
		return fmt.Errorf("data: %s: %w", ProcessorFile, err)
	}
	norm, err := c.norm()
	if err != nil {
		return fmt.Errorf("data: %s: %w", ProcessorFile, err)
	}
	*p = ImageProcessor{Size: size, Norm: norm}
	return nil
}

// size reads "size", which is the side of a square, its height and width, or the
// length of the shorter edge.
func (c processorConfig) size() (Size, error) {
	if !c.Resize {
		return Size{}, nil
	}
	var side int
	if json.Unmarshal(c.Size, &side) != nil {
		var edges struct {
			Height   int `json:"height"`
			Width    int `json:"width"`
			Shortest int `json:"shortest_edge"`
		}
		if err := json.Unmarshal(c.Size, &edges); err != nil {
			return Size{}, fmt.Errorf("size: %w", err)
		}
		if edges.Shortest == 0 {
			return checkedSize(Size{edges.Height, edges.Width})
		}
		side = edges.Shortest
	}
	return checkedSize(Size{side, side})
}

// checkedSize refuses sizes that images cannot be scaled to.
func checkedSize(s Size) (Size, error) {
	if s.H < 1 || s.W < 1 || s.H > maxSize || s.W > maxSize {
		return Size{}, fmt.Errorf("image size %d×%d is not between 1×1 and %d×%d", s.H, s.W, maxSize, maxSize)
	}
	return s, nil
}

// norm returns the mean and the deviation on the scale of [Norm].
func (c processorConfig) norm() (Norm, error) {
	n := Norm{Std: [3]float32{1, 1, 1}}
	if c.Normalise {
		for key, from := range map[string][]float32{"image_mean": c.Mean, "image_std": c.Std} {
			to := &n.Mean
			if key == "image_std" {
				to = &n.Std
			}
			switch len(from) {
			case 1: // one value for all channels
				*to = [3]float32{from[0], from[0], from[0]}
			case 3:
				*to = [3]float32(from)
			default:
				return Norm{}, fmt.Errorf("%s has %d values, want 1 or 3", key, len(from))
			}
		}
		if slices.ContainsFunc(n.Std[:], func(v float32) bool { return !(v > 0) }) {
			return Norm{}, fmt.Errorf("image_std is %v, want positive numbers", n.Std)
		}
	}
	factor := 1.0
	if c.Rescale {
		factor = c.Factor
	}
	white := 255 * factor // what a white pixel becomes before it is normalised
	if !(white > 0) || math.IsInf(white, 0) {
		return Norm{}, fmt.Errorf("rescale_factor is %v, want a positive number", c.Factor)
	}
	if math.Abs(white-1) > 1e-9 {
		for i := range n.Mean {
			n.Mean[i] = float32(float64(n.Mean[i]) / white)
			n.Std[i] = float32(float64(n.Std[i]) / white)
		}
	}
	return n, nil
}
