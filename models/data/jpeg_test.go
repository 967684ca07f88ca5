package data

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// frameHeader is a JPEG up to its frame: grey, 16 × 16, with so many bits a sample.
func frameHeader(marker, bits byte) []byte {
	return []byte{0xff, 0xd8, 0xff, marker, 0, 11, bits, 0, 16, 0, 16, 1, 1, 0x11, 0}
}

// TestUnreadJPEG: what is said of a form that is not read names it and how to convert it.
func TestUnreadJPEG(t *testing.T) {
	for want, raw := range map[string][]byte{
		"with 12 bits a sample: store it as PNG (magick mogrify -format png -depth 8": frameHeader(0xc1, 12),
		"with arithmetic coding: convert it without loss (jpegtran":                   frameHeader(0xc9, 8),
		"arithmetic coding":          frameHeader(0xca, 8),
		"the lossless one":           frameHeader(0xc3, 16),
		"store it as PNG or as base": frameHeader(0xc5, 8),
	} {
		_, err := decodeImage(raw)
		require.ErrorContains(t, err, "unsupported JPEG feature")
		require.ErrorContains(t, err, "in a form of JPEG that is not read here")
		require.ErrorContains(t, err, want)
	}
	_, err := decodeImage(frameHeader(0xc0, 8))
	require.ErrorContains(t, err, "the image is truncated")
}
