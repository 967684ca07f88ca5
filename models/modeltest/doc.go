// Package modeltest checks that an architecture keeps the laws that fusion stands
// on, whoever wrote it:
//
//	func TestLaws(t *testing.T) {
//		modeltest.TestArchitecture(t, arch, MyConfig{Hidden: 8, Layers: 2, Heads: 2})
//	}
//
// The laws are those of [TestArchitecture]. They need no accelerator: [Forward]
// computes a network in float64, slowly and plainly, one operation after the
// other, and is what other interpreters are compared with, too.
//
// The parts that the laws are made of serve tests of other things: [Random] and
// [Batch] draw models and samples for any architecture, [Relabelled] puts the units
// of a model into another order, [Apart] measures how far two outputs are from each
// other, a [Calibration] collects the moments of activations, and [Nets] are small
// networks of every kind.
package modeltest
