package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/safetensors"
)

// checkOutputs reports, before any work is done, what cannot be written and what
// is read too: an input is never replaced.
func (o options) checkOutputs() error {
	if err := cli.Replaceable(o.out); err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	inputs := append([]string{o.config, o.calib, o.eval}, o.dirs...)
	if err := notAmong(o.out, inputs); err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	for _, output := range []struct{ flag, path string }{{"-maps", o.maps}, {"-report", o.report}, {"-html", o.html}} {
		if output.path == "" {
			continue
		}
		err := errors.Join(cli.Writable(filepath.Dir(output.path)), notAmong(output.path, inputs))
		if err != nil {
			return fmt.Errorf("%s: %w", output.flag, err)
		}
	}
	return nil
}

// notAmong reports an output that is one of the inputs, by whatever path.
func notAmong(output string, inputs []string) error {
	to, err := os.Stat(output)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, input := range inputs {
		if from, err := os.Stat(input); err == nil && os.SameFile(from, to) {
			return fmt.Errorf("%s is an input, which is never replaced", output)
		}
	}
	return nil
}

// write writes all that was asked for, the model first, and prints the table.
func (j *job) write(fused *models.Model, maps map[string]safetensors.Tensor) error {
	if err := fused.Save(j.out); err != nil {
		return err
	}
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
