package models

import (
	"fmt"
	"slices"

	"github.com/otfuse/otfuse/graph"
)

// Untie returns a model that computes the same and whose logits have a layer of their
// own in place of the word embeddings: tie_word_embeddings of its configuration is
// false. Where norms stand before all that reads the residual stream, as in GPT-2 and
// Llama, the stream may then be rotated: see [graph.Group].
//
// A model whose logits are not tied is returned as it is. One of a class that has no
// other logits, such as BERT's, is an error that names the key.
func Untie(m *Model) (*Model, error) {
	untied, err := untie(m)
	if err != nil {
		return nil, fmt.Errorf("models: untying %s: %w", m.Arch.Class, err)
	}
	return untied, nil
}

func untie(m *Model) (*Model, error) {
	tied := slices.IndexFunc(m.Graph.Nodes, func(n *graph.Node) bool { return n.Op == graph.Unembed })
	if tied < 0 {
		return m, nil
	}
	m, err := m.Load()
	if err != nil {
		return nil, err
	}
	c, err := m.configWith(member{key: "tie_word_embeddings", value: []byte("false")})
	if err != nil {
		return nil, err
	}
	made, err := m.Arch.bind(c)
	if err != nil {
		return nil, err
	}
	table, _ := m.Graph.Nodes[tied].Args[1].Param(graph.RoleRows)
	made.Files, made.Extra, made.text, made.Params = m.Files, m.Extra, m.text, Params{}
	for _, p := range made.Graph.Params() {
		t, ok := m.Params[p.Name]
		if !ok { // the layer of the logits
			t = m.Params[table.Name]
			t.Data = slices.Clone(t.Data)
		}
		made.Params[p.Name] = t
	}
	return made, made.check()
}

// configWith returns the configuration of m with members of its config.json changed.
func (m *Model) configWith(changes ...member) (Config, error) {
	if m.Arch.Parse == nil {
		return nil, fmt.Errorf("the architecture has no Parse to read %s", configName)
	}
	current, err := configMembers(m.Config)
	if err != nil {
		return nil, err
	}
	text, err := patched([]byte("{\n}\n"), current)
	if err == nil {
		text, err = patched(text, changes)
	}
	if err != nil {
		return nil, err
	}
	return m.Arch.Parse(text)
}
