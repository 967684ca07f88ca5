// Package graph holds the transport-map flow graph: one architecture, written
// once as a forward pass and read by every interpreter.
//
// A [Builder] records the steps of a network. Each step is a [Node]. Its [Op]
// says what it computes, its [Flow] where the transport map that leaves it comes
// from, and its grant what may be done to the units that it touches without a
// change of what the network computes:
//
//	op                 parameters (axes)           flow                      grants
//	Input, Const       -                           Fix                       nothing
//	Patches, Output    -                           Fix                       nothing
//	Table              rows [.., Out]              Solve                     anything
//	Embed              rows [Fixed, Out]           Solve                     anything
//	Linear             weight [Out, In] or         Solve; Fix before Output  anything
//	                   [In, Out], bias [Out]
//	Norm               gain [Gain], bias [Out]     Carry                     orthogonal maps that keep (1, …, 1)
//	                                                                         where gains fold; else permutations
//	Norm (RMS)         gain [Gain]                 Carry                     any orthogonal map where gains fold;
//	                                                                         else signed permutations
//	Norm (of heads)    gain [Fixed]                Carry                     heads, and a sign of each plane
//	Act                -                           Carry                     permutations; signs where it is odd
//	                                                                         or a gate, which has none itself
//	Mul                -                           Carry from the first      permutations; signs where one factor
//	                                                                         is a gate
//	Rotary             -                           Carry                     heads, and a complex number of each
//	                                                                         plane, any map of the rest
//	Attend             -                           Carry from the values     heads, and any map within each; heads
//	                                                                         of keys with those that share them
//	Select, Mean       -                           Carry                     anything
//	Prepend            -                           Carry from the sequence   anything
//	Add                -                           Join by a Policy          anything
//	Unembed            bias [Fixed] or none        Fix                       orthogonal maps
//
// [Graph.Spaces] derives which nodes share one set of units, and what all nodes
// that touch these units grant: its [Group]. [Graph.Check] compares a checkpoint
// with a graph, [Graph.String] prints a graph as a table, [Graph.Dot] draws it
// as the paper does.
//
// A perceptron on pixels, for example, prints as
//
//	t0   = input                  fix               0  pixels
//	t1   = linear  t0             solve            16  hidden
//	t2   = act     t1             carry            16  relu
//	t3   = linear  t2             fix              10  logits
//	t4   = output  t3             fix              10  output
//
// The flow graph is that of Imfeld et al., "Transformer Fusion with Optimal
// Transport" (ICLR 2024). Spaces are the permutation specification of Ainsworth
// et al., "Git Re-Basin" (ICLR 2023), derived instead of written down.
package graph
