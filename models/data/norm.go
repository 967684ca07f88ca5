package data

import (
	"fmt"
	"math"
)

// Norm is the mean and the standard deviation of every channel, on the scale
// where a black pixel is 0 and a white one 1.
type Norm struct {
	Mean [3]float32 `json:"mean"`
	Std  [3]float32 `json:"std"`
}

// Norm measures the mean and the standard deviation over all pixels of every
// channel. A channel that does not vary, and every channel of an empty set,
// has Std 1. The sums are integers: the result is the same on every machine.
// Sets that are decoded on demand, and their views, have the norm that was measured
// when they were opened, on 1024 images evenly spaced over the training set. A set
// whose fields contradict each other is an error, as [Set.Check] says.
func (s *Set) Norm() (Norm, error) {
	if err := s.checkShape(); err != nil {
		return Norm{}, fmt.Errorf("data: %w", err)
	}
	if s.stream != nil {
		return s.stream.norm, nil
	}
	var sums moments
	d := s.imageLen()
	for i := range s.Len() {
		sums.addImage(s.Pixels[i*d:(i+1)*d], s.C)
	}
	return sums.norm(), nil
}

// moments are the sums of the pixels of every channel and of their squares.
type moments struct {
	count       int // pixels of a channel
	sum, square [3]uint64
}

// addImage adds the pixels [channels, H, W] of an image.
func (m *moments) addImage(pix []byte, channels int) {
	area := len(pix) / channels
	m.count += area
	for c := range min(channels, len(m.sum)) {
		for _, p := range pix[c*area : (c+1)*area] {
			m.sum[c] += uint64(p)
			m.square[c] += uint64(p) * uint64(p)
		}
	}
}

func (m *moments) norm() Norm {
	n := Norm{Std: [3]float32{1, 1, 1}}
	if m.count == 0 {
		return n
	}
	count := float64(m.count)
	for c := range m.sum {
		mean := float64(m.sum[c]) / count
		n.Mean[c] = float32(mean / 255)
		if std := math.Sqrt(max(0, float64(m.square[c])/count-mean*mean)); std > 0 {
			n.Std[c] = float32(std / 255)
		}
	}
	return n
}

// byteTable returns the normalised value of every byte, for each channel.
func (n Norm) byteTable(channels int) (*[3][256]float32, error) {
	var lut [3][256]float32
	for c := range channels {
		mean, std := float64(n.Mean[c]), float64(n.Std[c])
		if !(std > 0) || math.IsInf(std, 0) || math.IsNaN(mean) || math.IsInf(mean, 0) {
			return nil, fmt.Errorf("channel %d has mean %v and standard deviation %v", c, mean, std)
		}
		for p := range lut[c] {
			lut[c][p] = float32((float64(p)/255 - mean) / std)
		}
	}
	return &lut, nil
}
