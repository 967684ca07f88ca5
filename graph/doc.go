// Package graph holds the transport-map flow graph: one architecture, written
// once as a forward pass, read by every interpreter.
//
// A [Builder] records the steps of a network. Each step is a [Node]; its [Op]
// says what it computes, its [Flow] what happens to a transport map there:
//
//	op                          parameters (axes)          flow
//	Input, Const, Patches       -                          Fix
//	Table                       rows [.., Out]             Solve
//	Embed                       table [Fixed, Out]         Solve
//	Linear                      W [Out, In], b [Out]       Solve (Fix just before the output)
//	Norm                        gain [Out], bias [Out]     Carry
//	Act, Select, Mean           -                          Carry
//	Attend                      -                          Carry from the values
//	Prepend                     -                          Carry from the sequence
//	Add                         -                          Join by a residual [Policy]
//	Unembed                     bias [Fixed]               Fix
//	Output                      -                          Fix
//
// The flow graph is that of Imfeld et al., "Transformer Fusion with Optimal
// Transport" (ICLR 2024); the spaces that [Graph.Spaces] derives are the
// permutation specification of Ainsworth et al., "Git Re-Basin" (ICLR 2023).
package graph
