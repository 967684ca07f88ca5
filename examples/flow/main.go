// Command flow shows the flow graph of an architecture, as the maps between the
// units of two models pass through it:
//
//	go run ./examples/flow docs/flow.json                            # one node a line
//	go run ./examples/flow -dot docs/flow.json | dot -Tsvg -o docs/flow.svg
//	go run ./examples/flow google/vit-base-patch16-224
//
// It reads a config.json of Hugging Face, by its path, its directory or its id on the hub,
// not the weights. The second command
// draws the picture of the README with Graphviz.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/hub"
)

func main() {
	cli.Main(func(ctx context.Context) error {
		f := flag.NewFlagSet("flow", flag.ContinueOnError)
		dot := f.Bool("dot", false, "write the language of Graphviz in place of text")
		if err := cli.Parse(f, os.Args[1:]); err != nil {
			return err
		}
		if f.NArg() != 1 {
			return fmt.Errorf("flow: got %d arguments, want one config.json, directory or id of the hub", f.NArg())
		}
		show := text
		if *dot {
			show = graphviz
		}
		config, err := hub.Config(ctx, f.Arg(0))
		if err != nil {
			return fmt.Errorf("flow: %w", err)
		}
		if err := run(config, os.Stdout, show); err != nil {
			return fmt.Errorf("flow: %s: %w", f.Arg(0), err)
		}
		return nil
	})
}

func text(s models.Spec) string     { return s.Graph.String() }
func graphviz(s models.Spec) string { return s.Graph.Dot() }

// run writes what show makes of the network that a config.json describes.
func run(file string, w io.Writer, show func(models.Spec) string) error {
	config, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var named struct {
		Classes []string `json:"architectures"`
	}
	if err := json.Unmarshal(config, &named); err != nil {
		return err
	}
	architecture, err := models.Find(named.Classes)
	if err != nil {
		return err
	}
	parsed, err := architecture.Parse(config)
	if err != nil {
		return err
	}
	spec, err := parsed.Spec()
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, show(spec))
	return err
}
