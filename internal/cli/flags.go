package cli

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/models"
)

// Parse parses flags. -h prints the usage to stdout and gives [flag.ErrHelp];
// a mistake gives an error and prints nothing. It adds the flags -backend and -devices,
// which all programs have: -backend list prints the backends and gives [flag.ErrHelp]
// too.
func Parse(f *flag.FlagSet, args []string) error {
	var text bytes.Buffer
	f.SetOutput(&text)
	name := f.String("backend", "", "what computes: list shows the choice and why, xla:cuda insists on a GPU, xla:cpu "+
		"and go on the\nprocessor; the best that there is if empty (`name`, as in $GOMLX_BACKEND)")
	devices := f.String("devices", "", "`number` of devices of this machine that share each batch; 4,split has them "+
		"share parameters\nand the state of trainings, too (default $OTFUSE_DEVICES, or 1)")
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Print(text.String())
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %w; -h explains the flags", f.Name(), err)
	}
	if err := useDevices(*devices); err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	done, err := useBackend(*name)
	if err == nil && done {
		return flag.ErrHelp
	}
	return err
}

// Writable reports, before any work is done, that nothing can be written into a
// directory, which is made where it does not exist.
func Writable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".probe-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Replaceable reports, before any work is done, that a checkpoint cannot be
// saved at path: its parent is not writable, it is something else than a
// checkpoint or an empty directory, or it is not [Apart] from what is read.
func Replaceable(path string, inputs ...string) error {
	if err := Apart(path, inputs...); err != nil {
		return err
	}
	if err := models.Replaceable(path); err != nil {
		return err
	}
	return Writable(filepath.Dir(filepath.Clean(path)))
}

// Apart reports an output that is one of the inputs, holds one or lies in one, by
// whatever path: an input is never changed. Inputs that are "" are none.
func Apart(output string, inputs ...string) error {
	for _, input := range inputs {
		from, err := os.Stat(input)
		to, missing := os.Stat(output)
		switch {
		case input == "":
		case err == nil && missing == nil && os.SameFile(from, to):
			return fmt.Errorf("%s is an input, which is never replaced", output)
		case atomicfile.Holds(output, input):
			return fmt.Errorf("%s holds %s, an input, which is never replaced", output, input)
		case atomicfile.Holds(input, output):
			return fmt.Errorf("%s lies in %s, an input, to which nothing is added", output, input)
		}
	}
	return nil
}
