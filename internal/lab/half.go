package lab

import (
	"encoding/json"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/safetensors"
)

// Halved returns m with its weights to be stored as float16.
func Halved(m *models.Model) (*models.Model, error) {
	text, err := json.Marshal(m.Config)
	if err != nil {
		return nil, err
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		return nil, err
	}
	keys["torch_dtype"] = json.RawMessage(`"float16"`)
	if text, err = json.Marshal(keys); err != nil {
		return nil, err
	}
	config, err := m.Arch.Parse(text)
	if err != nil {
		return nil, err
	}
	return retyped(m, func(string) safetensors.DType { return safetensors.F16 }).WithConfig(config)
}
