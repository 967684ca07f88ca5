package report

import (
	"fmt"
	"strings"

	"github.com/otfuse/otfuse/models"
)

// Describe says what a model is and, where its card says it, what it was trained on.
func Describe(name string, m *models.Model) Fact {
	d := m.Dims()
	text := fmt.Sprintf("%s, %d layers, %d wide, %d heads, MLP %d, %.3g million parameters",
		m.Arch.Class, d.Depth, d.Width, d.Heads, d.MLP, float64(m.Size())/1e6)
	if data := TrainingData(m); data != "" {
		text += ", trained on " + data
	}
	return Fact{name, text}
}

// The card of a model: the file beside a checkpoint that says in words what it is.
const (
	CardFile = "README.md"
	cardData = "Training data: " // begins the line that says what a model was trained on
)

// Card returns the card of a model that was trained on some data.
func Card(m *models.Model, data string) []byte {
	return fmt.Appendf(nil, "---\nlibrary_name: transformers\ntags:\n- otfuse\n---\n\n# %s\n\n%s%s\n", m.Arch.Class,
		cardData, data)
}

// TrainingData returns what a model was trained on, as its card says it; empty where it
// does not.
func TrainingData(m *models.Model) string {
	for line := range strings.Lines(string(m.Files[CardFile])) {
		if data, ok := strings.CutPrefix(line, cardData); ok {
			return strings.TrimSpace(data)
		}
	}
	return ""
}
