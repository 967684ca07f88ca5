package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models/safetensors"
)

// checkOutputs reports, before any work is done, what cannot be written and what
// is read too: an input is never changed.
func (o options) checkOutputs() error {
	inputs := append([]string{o.config, o.calib, o.eval}, o.dirs...)
	if o.part.Parts > 0 {
		if err := errors.Join(cli.Apart(o.parts, inputs...), cli.Writable(o.parts)); err != nil {
			return fmt.Errorf("-parts: %w", err)
		}
		return nil
	}
	if err := cli.Replaceable(o.out, append(inputs, o.parts)...); err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	for _, output := range []struct{ flag, path string }{{"-maps", o.maps}, {"-report", o.report}, {"-html", o.html}} {
		if output.path == "" {
			continue
		}
		if err := cli.Apart(output.path, inputs...); err != nil {
			return fmt.Errorf("%s: %w", output.flag, err)
		}
		if err := cli.Writable(filepath.Dir(output.path)); err != nil {
			return fmt.Errorf("%s: %w", output.flag, err)
		}
	}
	return nil
}

// write writes what was asked for beside the model, which is there, and prints the table.
func (j *job) write(maps map[string]safetensors.Tensor) error {
	if j.maps != "" {
		if err := safetensors.WriteFile(j.maps, maps, nil); err != nil {
			return fmt.Errorf("-maps: %w", err)
		}
	}
	if j.options.report != "" {
		if err := j.report.Write(j.options.report); err != nil {
			return fmt.Errorf("-report: %w", err)
		}
	}
	if j.html != "" {
		if err := j.page().WriteFile(j.html); err != nil {
			return fmt.Errorf("-html: %w", err)
		}
	}
	return j.report.Print(os.Stdout)
}
