package models

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models/safetensors"
)

// A naming says which tensor of a checkpoint is which parameter of a graph.
type naming struct {
	params map[string]string // from names of the graph to those of the checkpoint
	extra  map[string]string // the same for tensors that the graph does not read
	left   []string          // names of tensors that contradict the graph
}

// named finds the parameters of g among the tensors of a checkpoint. A tensor may
// have its name as the graph has it, or
//
//   - as older and newer versions of the library call it: see [Architecture],
//   - without the prefix of the encoder, as in a checkpoint of the encoder alone,
//   - behind a wrapper, as in "module." or "_orig_mod.": the wrapper is what most
//     tensors have in common before the names of the graph.
//
// What is left over is extra where the graph has no such module. It is an error
// within a module of the graph: the network would then compute something else
// than the checkpoint was trained to.
func (a Architecture) named(g *graph.Graph, files *safetensors.Checkpoint) (naming, error) {
	wanted := map[string]bool{}
	for _, p := range g.Params() {
		wanted[p.Name] = true
	}
	wrapper, err := a.wrapper(wanted, files.Names())
	if err != nil {
		return naming{}, err
	}
	out := naming{params: map[string]string{}, extra: map[string]string{}}
	var rest []string
	bare := false // the encoder's tensors have no prefix
	for _, own := range files.Names() {
		name, ok := a.parameter(strings.TrimPrefix(own, wrapper), wanted)
		other, twice := out.params[name]
		switch {
		case !ok || a.ignores(own) && twice:
			rest = append(rest, own)
		case twice && a.ignores(other):
			out.params[name] = own
		case twice:
			return naming{}, fmt.Errorf("tensors %q and %q are the same parameter", other, own)
		default:
			out.params[name] = own
			bare = bare || a.Prefix != "" && strings.HasPrefix(name, a.Prefix) &&
				!strings.HasPrefix(strings.TrimPrefix(own, wrapper), a.Prefix)
		}
	}
	for _, own := range rest {
		name := a.renamed(strings.TrimPrefix(own, wrapper))
		if bare && !a.headed(g, name) {
			name = a.Prefix + name
		}
		switch _, tied := a.parameter(name, wanted); {
		case tied: // stored once more: written again it would contradict the fused one
		case a.ignores(own), isInteger(files, own), !a.within(g, name) && (a.Prefix != "" || !g.HasLogits()):
			out.extra[name] = own
		default:
			out.left = append(out.left, own)
		}
	}
	return out, nil
}

// parameter returns the name that the graph has for a tensor.
func (a Architecture) parameter(tensor string, wanted map[string]bool) (string, bool) {
	renamed := a.renamed(tensor)
	for _, name := range []string{tensor, a.Aliases[tensor], renamed, a.Prefix + tensor, a.Prefix + renamed} {
		if wanted[name] {
			return name, true
		}
	}
	return "", false
}

// renamed returns the name of a tensor with parts of it renamed.
func (a Architecture) renamed(tensor string) string {
	pairs := slices.Concat([]string{".gamma.", ".weight.", ".beta.", ".bias."}, a.Renamed)
	return strings.Trim(strings.NewReplacer(pairs...).Replace("."+tensor+"."), ".")
}

// wrapper returns what stands before the names of the graph in most tensors.
func (a Architecture) wrapper(wanted map[string]bool, tensors []string) (string, error) {
	votes := map[string]int{}
	for _, own := range tensors {
		if a.ignores(own) {
			continue
		}
		for at := 0; ; {
			if _, ok := a.parameter(own[at:], wanted); ok {
				votes[own[:at]]++
			}
			dot := strings.IndexByte(own[at:], '.')
			if dot < 0 {
				break
			}
			at += dot + 1
		}
	}
	best := ""
	for _, w := range slices.Sorted(maps.Keys(votes)) {
		if votes[w] > votes[best] || votes[w] == votes[best] && len(w) < len(best) {
			best = w
		}
	}
	for _, w := range slices.Sorted(maps.Keys(votes)) {
		if w != best && best != "" && votes[w] == votes[best] && !strings.HasPrefix(w, best) {
			return "", fmt.Errorf("the tensors hold two networks, with names that begin with %q and with %q", best, w)
		}
	}
	return best, nil
}

// within reports whether a tensor belongs to a module of the graph: to a part of the
// encoder, such as bert.encoder, or to a layer of the head.
func (a Architecture) within(g *graph.Graph, tensor string) bool {
	for _, p := range g.Params() {
		module := p.Name[:strings.LastIndexByte(p.Name, '.')+1]
		if rest, ok := strings.CutPrefix(p.Name, a.Prefix); ok {
			module = p.Name[:len(a.Prefix)+strings.IndexByte(rest, '.')+1]
		}
		if strings.HasPrefix(tensor, module) || strings.HasPrefix(a.Prefix+tensor, module) {
			return true
		}
	}
	return false
}

// headed reports whether a tensor has its prefix already, or belongs to a head, which
// has none.
func (a Architecture) headed(g *graph.Graph, tensor string) bool {
	first, _, _ := strings.Cut(tensor, ".")
	for _, p := range g.Params() {
		if part, _, _ := strings.Cut(p.Name, "."); part == first {
			return true
		}
	}
	return false
}

// isInteger reports whether a tensor holds integers, as buffers do and parameters do
// not.
func isInteger(files *safetensors.Checkpoint, tensor string) bool {
	dtype, _, err := files.Info(tensor)
	return err == nil && slices.Contains([]safetensors.DType{safetensors.I64, safetensors.I32, safetensors.I16,
		safetensors.I8, safetensors.U64, safetensors.U32, safetensors.U16, safetensors.U8, safetensors.Bool}, dtype)
}

// ignores reports whether a tensor is a buffer and not a parameter.
func (a Architecture) ignores(tensor string) bool {
	return slices.ContainsFunc(a.Ignored, func(s string) bool {
		return tensor == s || strings.HasSuffix(tensor, "."+strings.TrimPrefix(s, "."))
	})
}
