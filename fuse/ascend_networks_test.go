package fuse_test

import (
	"testing"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models/modeltest"
)

// networks are those of package modeltest.
func networks() (out []fuse.Network) {
	for _, net := range modeltest.Nets() {
		calibration := modeltest.Calibration{Data: net.Batch(8, 9), Tokens: align.All{}}
		out = append(out, fuse.Network{Class: net.Arch.Class, Model: net.Model, Calibration: calibration})
	}
	return out
}

func TestClimb(t *testing.T)  { fuse.TestingClimb(t, networks()) }
func TestWaves(t *testing.T)  { fuse.TestingWaves(t, networks()) }
func TestSettle(t *testing.T) { fuse.TestingSettle(t, networks()) }
