// Package dataset holds the data that the programs make by themselves, for
// machines that have neither a data set nor a network: images of coloured
// shapes, paragraphs of an encyclopedia of a world that does not exist, and a
// vocabulary of word pieces that is learned from a text.
//
// All of it follows from seeds through integer arithmetic: the same seed gives
// the same bytes on every machine. What users need is in models/data and
// models/text; the downloader of both is in internal/dataset/fetch.
package dataset
