package fuse_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/models/safetensors"
)

// TestEstimate: moments, passes and the result are what a fusion then collects, makes and
// writes.
func TestEstimate(t *testing.T) {
	for _, net := range modeltest.Nets() {
		a, b := model(t, net, 1), model(t, net, 2)
		for _, method := range []fuse.Method{fuse.Transport{}, fuse.Transport{QK: fuse.Joint},
			fuse.Transport{Aligner: align.Units{Features: align.Activations{Prep: []align.Prep{align.PCA{K: 2}}}}},
			fuse.Matching{Mix: 0.3}} {
			for _, limit := range []int64{0, 3000} {
				var requests []align.Request
				var collected int64
				set := fuse.Settings{MomentBytes: limit, Calibration: counting{calibration(net), &requests},
					Directory: &fuse.Directory{Path: filepath.Join(t.TempDir(), "fused")}}
				needs, err := fuse.Estimate(a, []*models.Model{b}, method, &set)
				require.NoError(t, err)
				_, _, err = fuse.Into(t.Context(), a, []*models.Model{b}, method, &set)
				require.NoError(t, err)
				for _, r := range requests {
					stats, err := calibration(net).Collect(t.Context(), b, a, r)
					require.NoError(t, err)
					for _, m := range stats.Moments {
						collected += 16*int64(len(m.MeanX)+len(m.MeanY)) + bytesOf(m.Cross) + bytesOf(m.Self)
					}
				}
				require.Equal(t, collected, needs.AllMoments)
				require.Len(t, requests, needs.Passes)
				require.LessOrEqual(t, needs.Moments, needs.AllMoments)
				file, err := os.Stat(filepath.Join(set.Directory.Path, safetensors.SingleName))
				require.NoError(t, err)
				require.InDelta(t, file.Size(), needs.Result, 10_000, "but for the header")
				require.Positive(t, needs.Site)
				require.NotEmpty(t, needs.SiteName)
			}
		}
	}
}

func bytesOf(m *mat.Dense) int64 {
	if m == nil {
		return 0
	}
	r, c := m.Dims()
	return 8 * int64(r) * int64(c)
}

// TestEstimateDepth: what a fusion from disk to disk holds does not depend on the depth, but
// for stored maps; what it holds in memory does.
func TestEstimateDepth(t *testing.T) {
	memory := func(layers int, method fuse.Method, dir *fuse.Directory) (int64, fuse.Needs) {
		m, err := models.Outline(models.Llama(), deep(layers), safetensors.BF16)
		require.NoError(t, err)
		needs, err := fuse.Estimate(m, []*models.Model{m}, method, &fuse.Settings{Directory: dir})
		require.NoError(t, err)
		require.Equal(t, 2*int64(m.Size()), needs.Result)
		return needs.Memory(), needs
	}
	dir := &fuse.Directory{Path: "nowhere"}
	for _, method := range []fuse.Method{fuse.Vanilla{}, fuse.Transport{}} {
		few, _ := memory(2, method, dir)
		many, _ := memory(16, method, dir)
		require.Equal(t, few, many)
		_, held := memory(16, method, nil)
		require.Positive(t, held.Models)
	}
	_, few := memory(2, fuse.Matching{}, dir)
	_, many := memory(16, fuse.Matching{}, dir)
	require.Equal(t, few.Memory()-few.Maps, many.Memory()-many.Maps)
	require.Less(t, many.Maps, many.Result)
	_, err := fuse.Estimate(nil, nil, nil, nil)
	require.Error(t, err)
}

// TestEstimateConcatenation: each model is matched with a narrower network, so that a site
// takes less than between models of the whole width; a nil method is estimated by it where it
// is one of those that are tried on samples.
func TestEstimateConcatenation(t *testing.T) {
	net := doubled(modeltest.ViT())
	a, b := model(t, net, 1), model(t, net, 2)
	of := func(m fuse.Method, s fuse.Settings) fuse.Needs {
		needs, err := fuse.Estimate(a, []*models.Model{b}, m, &s)
		require.NoError(t, err)
		return needs
	}
	laid, matched := of(fuse.Concatenation{}, fuse.Settings{}), of(fuse.Matching{}, fuse.Settings{})
	require.Greater(t, laid.Models, matched.Models, "the networks of shares")
	require.Less(t, laid.Site, matched.Site, "a share is narrower")
	require.Positive(t, laid.Maps)
	require.Zero(t, laid.AllMoments)
	seeing := fuse.Concatenation{Cut: fuse.Matching{Mix: 0.3}}
	require.Positive(t, of(seeing, fuse.Settings{Calibration: calibration(net)}).AllMoments)

	require.Equal(t, laid, of(nil, fuse.Settings{Calibration: calibration(net)}))
	_, err := fuse.Estimate(a, []*models.Model{b}, fuse.Concatenation{}, &fuse.Settings{Weights: []float64{0, 1}})
	require.ErrorContains(t, err, "above 0")
}
