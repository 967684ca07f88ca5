// Package models binds checkpoints to the networks that they hold the weights of.
//
// # Checkpoints
//
// [Open] reads a directory as Hugging Face's transformers writes it: config.json
// and model.safetensors, in one file or in shards, in any float type. What does
// not fit is named, tensor by tensor. [Link] does the same and leaves the weights
// on disk until they are asked for. [Model.Save] writes a directory that
// transformers loads, whole or not at all, and keeps what the config.json said
// besides. [Fresh] draws a model to be trained from scratch.
//
//	m, err := models.Open("vit-base-patch16-224")
//	…
//	err = m.Save("copy")
//
// A [Model] is not changed once made: [Model.With] and [Model.WithConfig] return
// copies that share what stays the same. Goroutines may share models.
//
// # Architectures
//
// An [Architecture] is a class name and a function that reads its config.json into
// a [Config] of its own, such as [ViTConfig]. The method Spec of a Config returns a
// [Spec], which is all that the library needs to know about a network:
//
//   - Graph, its forward pass over the operations of package graph. It is run,
//     trained, fused, drawn and checked against checkpoints as it stands.
//   - Inputs, what it reads: names, shapes, ranges and defaults. What is not
//     declared is derived from the graph, labels always. [Model.Complete] checks
//     batches against them.
//   - Layout, how its tokens lie on a grid, for filters that choose among them.
//
// With the package come [ViT], [DeiT], [DeiTWithTeacher] and [SimpleViT] on images,
// and on texts [BERTForMaskedLM], [BERTForClassification], [BERTForPreTraining],
// [RoBERTaForMaskedLM], [RoBERTaForClassification], [DistilBERTForMaskedLM],
// [DistilBERTForClassification], and the decoders [GPT2], [GPTNeoX], [Llama],
// [Mistral], [Qwen2] and [Qwen3]; [ViTEncoder] and [BERTEncoder] put out features in
// place of logits. [Known] lists them. Others need not live here: [Open] takes them as
// arguments, and TestArchitecture of package modeltest runs the laws of the library on
// them. The example of [Architecture] is a whole one. [Untie] gives a decoder that shares
// its words with its logits a matrix of its own for these.
//
// # Samples
//
// A [Batch] holds dense arrays by the names of the inputs that they are for, and
// [Labels] where there are some. [Model.ReadSamples] reads one from a file.
package models
