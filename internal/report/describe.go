package report

import (
	"fmt"

	"github.com/otfuse/otfuse/models"
)

// Describe says what a model is.
func Describe(name string, m *models.Model) Fact {
	d := m.Dims()
	return Fact{name, fmt.Sprintf("%s, %d layers, %d wide, %d heads, MLP %d, %.3g million parameters",
		m.Arch.Class, d.Depth, d.Width, d.Heads, d.MLP, float64(m.Size())/1e6)}
}
