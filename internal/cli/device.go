package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/blas/blas64"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/gomlx/backend"
)

// backendVariable asks for a backend, as the flag -backend does.
const backendVariable = "GOMLX_BACKEND"

// devicesVariable says on how many devices to compute, as the flag -devices does.
const devicesVariable = "OTFUSE_DEVICES"

// downloadEvery is the time between two lines about a download.
const downloadEvery = 5 * time.Second

// Open opens the best device that there is for a program that [Main] runs. It prints
// which backend was taken and what was tried in vain, shows downloads, and asks before
// large ones where there is somebody to answer. Gonum multiplies large matrices on it then.
func Open(ctx context.Context) (*gomlx.Device, error) {
	var told time.Time
	spread, err := spreadNamed(os.Getenv(devicesVariable))
	if err != nil {
		return nil, err
	}
	d, err := gomlx.OpenWith(ctx, gomlx.Settings{Spread: spread, Settings: backend.Settings{
		Observe: func(p models.Progress) {
			switch {
			case p.Stage == gomlx.StageOpen:
				Line(p.Item)
			case p.Stage != gomlx.StageCompile && p.Total > 0 && time.Since(told) >= downloadEvery:
				told = time.Now()
				Notice("%s %s: %d of %d MB", p.Stage, p.Item, p.Done/1_000_000, p.Total/1_000_000)
			}
		},
		Allow: agrees,
	}})
	if err == nil && d.Name() == productsBackend {
		blas32.Use(d.Products())
		blas64.Use(d.Products())
	}
	return d, err
}

// productsBackend is the backend whose products of large matrices are faster than those of
// gonum.
const productsBackend = "xla"

// splitState is what follows the number of devices where they share the state, too.
const splitState = "split"

// spreadNamed is the spread that -devices asks for: "4", or "4,split" where devices
// share parameters and the state of trainings, too. Nothing is one device.
func spreadNamed(text string) (s gomlx.Spread, err error) {
	if text == "" {
		return s, nil
	}
	number, how, given := strings.Cut(text, ",")
	s.Devices, err = strconv.Atoi(number)
	if s.State = given; err != nil || s.Devices < 1 || given && how != splitState {
		return s, fmt.Errorf("-devices is %q, want a number of devices, with %q after a comma or not", text, splitState)
	}
	return s, nil
}

// agrees asks on a terminal whether to download something.
func agrees(ctx context.Context, d backend.Download) bool {
	if !term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stderr.Fd())) {
		return false
	}
	fmt.Fprintf(os.Stderr, "%s: download %.1f GB into %s, where it takes up to %.1f of %.1f GB that are free? [y/N] ",
		d.What, float64(d.Bytes)/1e9, d.Dir, float64(d.Needs)/1e9, float64(d.Free)/1e9)
	answers := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n') // the end of the input is no agreement
		answers <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return false
	case answer := <-answers:
		return answer == "y" || answer == "yes"
	}
}

// useDevices does what the flag -devices asks for.
func useDevices(text string) error {
	if _, err := spreadNamed(text); text == "" || err != nil {
		return err
	}
	return os.Setenv(devicesVariable, text)
}

// useBackend does what the flag -backend asks for. It tells whether the program is
// done with that.
func useBackend(name string) (done bool, err error) {
	switch name {
	case "":
		return false, nil
	case "list":
		return true, listBackends()
	}
	return false, os.Setenv(backendVariable, name)
}

// listBackends prints the backends that there are and why each would be taken or not.
func listBackends() error {
	all, err := backend.List(context.Background())
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, c := range all {
		mark := " "
		if c.Taken {
			mark = "*"
		}
		fmt.Fprintf(w, "%s %s\t%s\n", mark, c.Name, c.Verdict)
	}
	return w.Flush()
}
