package models_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/models"
)

// A fresh ViT is written as a checkpoint and read back.
func ExampleOpen() {
	c := models.ViTConfig{Hidden: 8, Layers: 1, Heads: 2, MLP: 16, Act: "gelu", Eps: 1e-6, Image: 8, Patch: 4, Channels: 3}
	m, err := models.Fresh(models.ViT(), c, 1, 0.02)
	if err != nil {
		fmt.Println(err)
		return
	}
	parent, err := os.MkdirTemp("", "models")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(parent)
	dir := filepath.Join(parent, "vit")
	if err := m.Save(dir); err != nil {
		fmt.Println(err)
		return
	}
	m, err = models.Open(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Arch.Class, len(m.Params), "tensors,", m.Size(), "parameters")
	fmt.Println(m.Params["vit.embeddings.patch_embeddings.projection.weight"].Shape)
	// Output:
	// ViTForImageClassification 24 tensors, 1074 parameters
	// [8 3 4 4]
}

// The classes of a model get other names. All else that its config.json says is
// kept when it is saved.
func ExampleModel_WithConfig() {
	c := models.ViTConfig{Hidden: 8, Layers: 1, Heads: 2, MLP: 16, Act: "gelu", Eps: 1e-6, Image: 8, Patch: 4, Channels: 3}
	m, err := models.Fresh(models.ViT(), c, 1, 0.02)
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Labels = map[string]string{"0": "cat", "1": "dog"}
	named, err := m.WithConfig(c)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(named.Config.(models.ViTConfig).Labels, m.Config.(models.ViTConfig).Labels)

	c.Labels["2"] = "cow"
	_, err = m.WithConfig(c)
	fmt.Println(err)
	// Output:
	// map[0:cat 1:dog] map[]
	// models: ViTForImageClassification: graph: tensor "classifier.weight" of classifier has shape [2 8], want [3 8]
	// graph: tensor "classifier.bias" of classifier has shape [2], want [3]
}
