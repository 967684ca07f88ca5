package models

// Progress says how far long work has come. It is the one progress signature of
// the library: fusing, calibration, training, compilation and downloads report
// it to a func(Progress).
type Progress struct {
	Stage string  // what is being done: "matching", "refitting", "calibrating", "training", "compiling", "downloading"
	Item  string  // what it is being done to, such as a node or a file; may be empty
	Done  int     // units of work done so far: nodes, rounds, samples, updates or bytes
	Total int     // units of work in all; 0 where that is not known
	Loss  float64 // in nats, of the last update; 0 for work that has none
}
