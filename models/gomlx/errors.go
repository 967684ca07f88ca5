package gomlx

import (
	"errors"
	"fmt"
	"strings"

	"github.com/otfuse/otfuse/models"
)

// ErrNotOpen reports the use of a device that was closed or that is not from
// [Open], and of a trainer that was closed.
var ErrNotOpen = errors.New("gomlx: no open device")

// errNoModel reports a nil model.
var errNoModel = errors.New("gomlx: the model is nil")

// usable reports a model that has no graph to run.
func usable(ms ...*models.Model) error {
	for i, m := range ms {
		if m == nil || m.Graph == nil {
			if len(ms) > 1 {
				return located(fmt.Sprintf("model %d", i), errNoModel)
			}
			return errNoModel
		}
	}
	return nil
}

// A locatedError says what an error was about, with the prefix of the package
// once.
type locatedError struct {
	what string
	err  error
}

func (e *locatedError) Error() string {
	return "gomlx: " + e.what + ": " + strings.TrimPrefix(e.err.Error(), "gomlx: ")
}

func (e *locatedError) Unwrap() error { return e.err }

// located says what err was about; nil stays nil.
func located(what string, err error) error {
	if err == nil {
		return nil
	}
	return &locatedError{what, err}
}

// A graphError is a mistake that shows while a graph is built. GoMLX wants a
// panic there, which it returns as an error from the call of the graph.
type graphError struct{ text string }

func (e *graphError) Error() string { return e.text }

// A libraryError is an error of GoMLX, told in one line.
type libraryError struct {
	text string
	err  error
}

func (e *libraryError) Error() string { return e.text }
func (e *libraryError) Unwrap() error { return e.err }

// longestText is the number of bytes of a message of GoMLX that are shown: some
// print whole tensors.
const longestText = 300

// oneLine is the first line of a message of GoMLX, without the name that GoMLX
// gives to a graph.
func oneLine(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	if start, rest, ok := strings.Cut(text, " panicked: "); ok && strings.HasPrefix(start, "graphFn for ") {
		text = rest
	}
	if len(text) > longestText {
		text = strings.ToValidUTF8(text[:longestText], "") + " …"
	}
	return text
}

// tidied is an error of GoMLX in one line; a graphError in its chain is all that
// matters.
func tidied(err error) error {
	if own := (*graphError)(nil); errors.As(err, &own) {
		return own
	}
	if text := oneLine(err.Error()); text != err.Error() {
		return &libraryError{text, err}
	}
	return err
}

// recovered runs f, which calls GoMLX or a strategy of the user, and returns its
// error or its panic as an error that says what it was about.
func recovered(what string, f func() error) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error:
			err = located(what, tidied(r))
		default:
			err = located(what, errors.New(oneLine(fmt.Sprint(r))))
		}
	}()
	if err := f(); err != nil {
		return located(what, tidied(err))
	}
	return nil
}
