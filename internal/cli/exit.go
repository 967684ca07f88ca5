package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

// collectPercent is the percentage of the memory in use that may wait to be collected.
// What these programs hold is a few large arrays: collecting costs little.
const collectPercent = 50

const (
	statusError       = 2   // something went wrong
	statusInterrupted = 130 // as shells have it
)

// patience is how long a program may take to end before it says that it does.
const patience = 300 * time.Millisecond

// Main runs a program until it is done or interrupted and exits: with 0 when
// all went well or only help was asked for ([flag.ErrHelp]), with 2 and one line on stderr otherwise.
//
// The first interrupt ends the program's context; what takes longer than a moment
// after that is said on stderr. The second one ends the process at once. Nothing is
// torn by that: files appear under their names whole.
func Main(program func(context.Context) error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectPercent)
	}
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go stopAtSignals(signals, cancel)
	err := program(ctx)
	interrupted := ctx.Err() != nil
	signal.Stop(signals)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case interrupted && errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "interrupted")
		os.Exit(statusInterrupted)
	default:
		fmt.Fprintln(os.Stderr, OneLine(err))
		os.Exit(statusError)
	}
}

// stopAtSignals cancels at the first signal and exits at the second.
func stopAtSignals(signals <-chan os.Signal, cancel context.CancelFunc) {
	<-signals
	cancel()
	select {
	case <-signals:
	case <-time.After(patience):
		Notice("interrupted: stopping; a second Ctrl-C ends the program at once")
		<-signals
	}
	os.Exit(statusInterrupted)
}

// OneLine is the text of an error on one line.
func OneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
