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
)

// collectPercent is the percentage of the memory in use that may wait to be collected.
// What these programs hold is a few large arrays: collecting costs little.
const collectPercent = 50

// Main runs a program until it is done or interrupted and exits: with 0 when
// all went well or only help was asked for ([flag.ErrHelp]), with 2 and one line on stderr otherwise.
func Main(program func(context.Context) error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := program(ctx)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case interrupted && errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "interrupted")
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, OneLine(err))
		os.Exit(2)
	}
}

// OneLine is the text of an error on one line.
func OneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
