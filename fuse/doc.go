// Package fuse carries models into the basis of an anchor and averages them.
//
// [Into] fuses two or more models of one architecture: each is transported onto
// the anchor by itself ([Transport]), then one weighted mean is taken
// ([Average]). The heart is a loop over the nodes of the flow graph with one
// switch over the flows: a map is fixed, solved, carried or joined.
package fuse
