package parents

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPairs: every pair that is shipped opens, in any working directory, as two
// different networks of one architecture, and leaves nothing behind.
func TestPairs(t *testing.T) {
	t.Chdir(t.TempDir())
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	for set, class := range map[string]string{"cifar10": "ViTForImageClassification",
		"shapes": "ViTForImageClassification",
		"atlas":  "BertForMaskedLM", "wikitext2": "BertForMaskedLM",
		"gpt2-atlas": "GPT2LMHeadModel", "llama-atlas": "LlamaForCausalLM"} {
		pair, err := Pair(set)
		require.NoError(t, err, set)
		require.Len(t, pair, 2)
		require.Equal(t, class, pair[0].Arch.Class, set)
		require.Equal(t, pair[0].Params.Shapes(), pair[1].Params.Shapes(), set)
		require.NotEqual(t, pair[0].Params, pair[1].Params, set)
	}
	_, err := Open("cifar10", 2)
	require.ErrorIs(t, err, ErrNone)
	_, err = Pair("mnist")
	require.ErrorIs(t, err, ErrNone)
	_, err = Pair("../shapes")
	require.Error(t, err)
	left, err := os.ReadDir(tmp)
	require.NoError(t, err)
	require.Empty(t, left)
}
