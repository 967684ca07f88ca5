package cli

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/models"
)

// Parse parses flags. -h prints the usage to stdout and gives [flag.ErrHelp];
// a mistake gives an error and prints nothing.
func Parse(f *flag.FlagSet, args []string) error {
	var text bytes.Buffer
	f.SetOutput(&text)
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Print(text.String())
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %w; -h explains the flags", f.Name(), err)
	}
	return nil
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
// saved at path: its parent is not writable, or it is something else than a
// checkpoint or an empty directory.
func Replaceable(path string) error {
	if err := Writable(filepath.Dir(filepath.Clean(path))); err != nil {
		return err
	}
	return models.Replaceable(path)
}
