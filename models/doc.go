// Package models holds checkpoints and the architectures that they are of.
//
// An [Architecture] is written once, as a forward pass over the flow graph of
// package graph; everything else about it is derived. [Open] reads a directory
// as Hugging Face writes them and binds it to its architecture, [Model.Save]
// writes one back.
package models
