package data

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestImageProcessorReads(t *testing.T) {
	half := Norm{Mean: [3]float32{0.5, 0.5, 0.5}, Std: [3]float32{0.5, 0.5, 0.5}}
	imageNet := Norm{Mean: [3]float32{0.485, 0.456, 0.406}, Std: [3]float32{0.229, 0.224, 0.225}}
	plain := Norm{Std: [3]float32{1, 1, 1}}
	for text, want := range map[string]ImageProcessor{
		`{}`: {Size{224, 224}, half},
		`{"size": {"height": 32, "width": 48}, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "resample": 2}`: {
			Size{32, 48}, Norm{Mean: [3]float32{0.1, 0.2, 0.3}, Std: [3]float32{0.4, 0.5, 0.6}}},
		`{"size": {"shortest_edge": 256}, "do_normalize": false}`:                      {Size{256, 256}, plain},
		`{"size": [16, 24], "image_mean": 0.5, "image_std": null}`:                     {Size{16, 24}, half},
		`{"size": null, "do_normalize": false, "image_mean": null}`:                    {Size{224, 224}, plain},
		`{"size": {"shortest_edge": 256}, "do_center_crop": true, "crop_size": 224}`:   {Size{224, 224}, half},
		`{"do_center_crop": true, "crop_size": {"height": 8, "width": 6}}`:             {Size{8, 6}, half},
		`{"do_center_crop": false, "size": 8, "crop_size": 6}`:                         {Size{8, 8}, half},
		`{"feature_extractor_type": "DeiTFeatureExtractor"}`:                           {Size{224, 224}, imageNet},
		`{"image_processor_type": "DeiTImageProcessorFast", "do_center_crop": false}`:  {Size{256, 256}, imageNet},
		`{"size": 16, "rescale_factor": 0.00392156862745098}`:                          {Size{16, 16}, half},
		`{"do_resize": false, "image_mean": [0.5], "image_std": [0.5]}`:                {Size{}, half},
		`{"do_rescale": false, "image_mean": [127.5], "image_std": [127.5]}`:           {Size{224, 224}, half},
		`{"rescale_factor": 0.00784313725490196, "image_mean": [1], "image_std": [1]}`: {Size{224, 224}, half},
	} {
		var p ImageProcessor
		require.NoError(t, json.Unmarshal([]byte(text), &p), text)
		assert.Equal(t, want.Size, p.Size, text)
		assert.InDeltaSlice(t, want.Norm.Mean[:], p.Norm.Mean[:], 1e-7, text)
		assert.InDeltaSlice(t, want.Norm.Std[:], p.Norm.Std[:], 1e-7, text)
	}
}

func TestImageProcessorRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"image_std": [0.5, 0, 0.5]}`:             "image_std is [0.5 0 0.5]",
		`{"image_std": [-1]}`:                      "image_std is [-1 -1 -1]",
		`{"image_mean": [1, 2]}`:                   "image_mean has 2 values, want 1 or 3",
		`{"image_mean": [1e99]}`:                   "cannot unmarshal",
		`{"size": {"height": 32}}`:                 "image size 32×0",
		`{"size": {"longest_edge": 64}}`:           "size has a longest_edge",
		`{"size": [1, 2, 3]}`:                      "size is [1 2 3], want a height and a width",
		`{"do_center_crop": true, "crop_size": 0}`: "image size 0×0",
		`{"size": 100000}`:                         "image size 100000×100000",
		`{"size": "large"}`:                        "size: json",
		`{"rescale_factor": 0}`:                    "rescale_factor is 0",
		`{"rescale_factor": -1}`:                   "rescale_factor is -1",
		`{"do_normalize": "yes, always"`:           "unexpected end",
	} {
		p := ImageProcessor{Size: Size{1, 1}}
		err := json.Unmarshal([]byte(text), &p)
		require.ErrorContains(t, err, want, text)
		assert.Equal(t, ImageProcessor{Size: Size{1, 1}}, p, "left alone")
	}
}

// TestImageProcessorWrites: what is written is read back, and is the text that
// checkpoints have carried from the beginning.
func TestImageProcessorWrites(t *testing.T) {
	p := ImageProcessor{Size{32, 48}, Norm{Mean: [3]float32{0.1, 0.2, 0.3}, Std: [3]float32{0.4, 0.5, 0.6}}}
	text, err := json.MarshalIndent(p, "", "  ")
	require.NoError(t, err)
	assert.Equal(t, `{
  "image_processor_type": "ViTImageProcessor",
  "do_normalize": true,
  "do_rescale": true,
  "rescale_factor": 0.00392156862745098,
  "do_resize": true,
  "size": {
    "height": 32,
    "width": 48
  },
  "image_mean": [
    0.1,
    0.2,
    0.3
  ],
  "image_std": [
    0.4,
    0.5,
    0.6
  ]
}`, string(text))
	var back ImageProcessor
	require.NoError(t, json.Unmarshal(text, &back))
	assert.Equal(t, p, back)

	p.Size = Size{}
	text, err = json.Marshal(p)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &back))
	assert.Equal(t, p, back)
}
