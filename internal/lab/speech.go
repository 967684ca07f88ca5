package lab

import (
	"context"
	"fmt"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// promptTokens is the number of tokens of a prompt that is taken from the test text.
const promptTokens = 8

// Prompt returns the beginning of the first paragraph of the test text.
func (t *Text) Prompt() string {
	ids := t.tok.Encode(t.Test[0])
	return t.tok.Decode(ids[:min(promptTokens, len(ids))])
}

// Continue returns the text with which a causal network continues a prompt.
func (t *Text) Continue(
	ctx context.Context, d *gomlx.Device, m *models.Model, prompt string, o gomlx.Generation,
) (string, error) {
	ids := t.tok.Encode(prompt)
	if len(ids) == 0 {
		return "", fmt.Errorf("the prompt %q has no tokens", prompt)
	}
	o.Stop = []int32{t.tok.Special.SEP}
	out, err := d.Generate(ctx, m, ids, o)
	return t.tok.Decode(out), err
}
