package data

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
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
// Reading takes the keys do_resize, size, do_center_crop, crop_size, do_rescale,
// rescale_factor, do_normalize, image_mean and image_std, in every form that transformers
// takes and with the defaults of ViTImageProcessor, or of DeiTImageProcessor where that
// is named, and ignores all others. Where images are cropped, Size is that of the crop. A
// rescale_factor other than 1/255 becomes a part of Norm.
// Sizes below 1, deviations that are not positive and numbers that are not
// finite are errors. Images that are not of the shape of Size are scaled to cover
// it and cut, where transformers stretches them, and by the area of their pixels, where
// transformers interpolates as resample says.
type ImageProcessor struct {
	Size Size // of the images; the zero value leaves them as they are
	Norm Norm
}

// processorConfig is the part of preprocessor_config.json that is read and
// written.
type processorConfig struct {
	Type      string          `json:"image_processor_type"`
	OldType   string          `json:"feature_extractor_type,omitempty"`
	Normalise bool            `json:"do_normalize"`
	Rescale   bool            `json:"do_rescale"`
	Factor    float64         `json:"rescale_factor"`
	Resize    bool            `json:"do_resize"`
	Size      json.RawMessage `json:"size"`
	Crop      bool            `json:"do_center_crop,omitempty"`
	CropSize  json.RawMessage `json:"crop_size,omitempty"`
	Mean      channels        `json:"image_mean"`
	Std       channels        `json:"image_std"`
}

// channels are the values of three channels, which may be written as one.
type channels []float32

// UnmarshalJSON reads a list or a number.
func (c *channels) UnmarshalJSON(text []byte) error {
	var one float32
	if string(text) == "null" {
		return nil
	}
	if json.Unmarshal(text, &one) == nil {
		*c = channels{one}
		return nil
	}
	return json.Unmarshal(text, (*[]float32)(c))
}

// defaults returns what transformers takes for what a text leaves out.
func defaults(text []byte) (processorConfig, error) {
	c := processorConfig{
		Normalise: true, Rescale: true, Factor: 1. / 255, Resize: true, Size: json.RawMessage("224"),
		Mean: channels{0.5}, Std: channels{0.5},
	}
	named := c
	if err := json.Unmarshal(text, &named); err != nil {
		return c, err
	}
	if strings.HasPrefix(named.Type+named.OldType, "DeiT") {
		c.Size, c.Crop, c.CropSize = json.RawMessage("256"), true, json.RawMessage("224")
		c.Mean, c.Std = channels{0.485, 0.456, 0.406}, channels{0.229, 0.224, 0.225}
	}
	return c, nil
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
	c, err := defaults(text)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
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

// size returns the size of the crop, else that which images are scaled to.
func (c processorConfig) size() (Size, error) {
	switch {
	case c.Crop && isGiven(c.CropSize):
		return readSize("crop_size", c.CropSize)
	case !c.Resize:
		return Size{}, nil
	case !isGiven(c.Size):
		return readSize("size", json.RawMessage("224"))
	}
	return readSize("size", c.Size)
}

// isGiven reports whether a key has a value.
func isGiven(text json.RawMessage) bool { return len(text) > 0 && string(text) != "null" }

// readSize reads a size: the side of a square, height and width by name or in a list,
// or the length of the shorter edge.
func readSize(key string, text json.RawMessage) (Size, error) {
	var side int
	if json.Unmarshal(text, &side) == nil {
		return checkedSize(Size{side, side})
	}
	var sides []int
	if json.Unmarshal(text, &sides) == nil {
		if len(sides) != 2 {
			return Size{}, fmt.Errorf("%s is %v, want a height and a width", key, sides)
		}
		return checkedSize(Size{sides[0], sides[1]})
	}
	var edges struct {
		Height   int `json:"height"`
		Width    int `json:"width"`
		Shortest int `json:"shortest_edge"`
		Longest  int `json:"longest_edge"`
	}
	if err := json.Unmarshal(text, &edges); err != nil {
		return Size{}, fmt.Errorf("%s: %w", key, err)
	}
	switch {
	case edges.Longest != 0:
		return Size{}, fmt.Errorf("%s has a longest_edge: images of one size are wanted", key)
	case edges.Shortest != 0:
		return checkedSize(Size{edges.Shortest, edges.Shortest})
	}
	return checkedSize(Size{edges.Height, edges.Width})
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
		for key, from := range map[string]channels{"image_mean": c.Mean, "image_std": c.Std} {
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
