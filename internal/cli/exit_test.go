package cli

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models/gomlx"
)

// childVariable has TestChild be a program of a kind.
const childVariable = "OTFUSE_TEST_CHILD"

// TestChild is the program that the tests of interrupts run in another process.
func TestChild(t *testing.T) {
	kind := os.Getenv(childVariable)
	if kind == "" {
		t.Skip("it is run by other tests")
	}
	Main(func(ctx context.Context) error {
		fmt.Println("ready")
		<-ctx.Done()
		if kind == "polite" {
			return fmt.Errorf("program: %w", ctx.Err())
		}
		select {} // stubborn
	})
}

// startChild starts a program of a kind and waits until it is ready.
func startChild(t *testing.T, kind string) (cmd *exec.Cmd, log *bufio.Reader) {
	program, err := os.Executable()
	require.NoError(t, err)
	cmd = exec.CommandContext(t.Context(), program, "-test.run=^TestChild$", "-test.v=false")
	cmd.Env = append(os.Environ(), childVariable+"="+kind)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	errs, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return cmd, bufio.NewReader(errs)
}

// status is what a program that has ended exits with.
func status(t *testing.T, cmd *exec.Cmd) int {
	err := cmd.Wait()
	exit := (*exec.ExitError)(nil)
	require.ErrorAs(t, err, &exit)
	return exit.ExitCode()
}

// TestInterrupt: one interrupt ends a program that heeds its context.
func TestInterrupt(t *testing.T) {
	cmd, log := startChild(t, "polite")
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	said, err := io.ReadAll(log)
	require.NoError(t, err)
	assert.True(t, strings.HasSuffix(string(said), "interrupted\n"), "%s", said)
	assert.Equal(t, 130, status(t, cmd))
}

// TestSecondInterrupt: a program that goes on after the first interrupt says so, and
// the second ends it, whatever it is at.
func TestSecondInterrupt(t *testing.T) {
	for _, second := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd, log := startChild(t, "stubborn")
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		line, err := log.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, "interrupted: stopping; a second Ctrl-C ends the program at once\n", line)
		require.NoError(t, cmd.Process.Signal(second))
		assert.Equal(t, 130, status(t, cmd))
	}
}

// TestBackendFlag: the flag asks for a backend as the environment does; list prints
// the choice.
func TestBackendFlag(t *testing.T) {
	t.Setenv(backendVariable, "")
	require.NoError(t, Parse(flag.NewFlagSet("program", flag.ContinueOnError), []string{"-backend", "go"}))
	require.Equal(t, "go", os.Getenv(backendVariable))
	var err error
	list := func() { err = Parse(flag.NewFlagSet("program", flag.ContinueOnError), []string{"-backend", "list"}) }
	out := captured(t, &os.Stdout, list)
	require.ErrorIs(t, err, flag.ErrHelp)
	require.Contains(t, out, "* go:ops_sequential")
	t.Setenv(backendVariable, "abacus")
	out = captured(t, &os.Stdout, list)
	require.ErrorIs(t, err, flag.ErrHelp)
	require.Contains(t, out, "no such backend in this build")
}

// TestDevicesFlag: the flag asks for devices as the environment does.
func TestDevicesFlag(t *testing.T) {
	t.Setenv(devicesVariable, "")
	for text, want := range map[string]gomlx.Spread{"4": {Devices: 4}, "2,split": {Devices: 2, State: true}} {
		require.NoError(t, Parse(flag.NewFlagSet("program", flag.ContinueOnError), []string{"-devices", text}))
		got, err := spreadNamed(os.Getenv(devicesVariable))
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	for _, wrong := range []string{"0", "-1", "many", "4,", "4,join", ",split"} {
		err := Parse(flag.NewFlagSet("program", flag.ContinueOnError), []string{"-devices", wrong})
		require.ErrorContains(t, err, fmt.Sprintf("program: -devices is %q", wrong))
	}
	t.Setenv(backendVariable, "go")
	t.Setenv(devicesVariable, "3")
	_, err := Open(t.Context())
	require.ErrorIs(t, err, gomlx.ErrSpread)
	require.ErrorContains(t, err, "Devices is 3, and Go Backend has 1")
}
