package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/models/gomlx"
)

// partsFlags adds the flags of a calibration that several machines share.
func (o *options) partsFlags(f *flag.FlagSet) {
	f.StringVar(&o.parts, "parts", "", "`directory` of a calibration in parts: with -part one of them is written there, "+
		"without it\nall are added up and what they say is fused; with the same -calib and -config for all")
	f.Func("part", "with -parts: calibrate on this `part` of the samples of -calib, such as 1/4 to 4/4, and fuse "+
		"nothing; 4 alone\nis the part of a process in an array job of four", func(text string) (err error) {
		o.part, err = parsePart(text)
		return err
	})
}

// parsePart reads PART/PARTS, or PARTS alone within an array job.
func parsePart(text string) (lab.Split, error) {
	if strings.Contains(text, "/") {
		return lab.ParseSplit(text)
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return lab.Split{}, fmt.Errorf("%q, want a part and the number of parts, such as 1/4", text)
	}
	items, err := cli.Items(cli.EveryItem, n)
	if err != nil {
		return lab.Split{}, err
	}
	if len(items) > 1 {
		return lab.Split{}, fmt.Errorf("%q is no part: outside of an array job name it, such as 1/%d", text, n)
	}
	return lab.Split{Part: items[0] + 1, Parts: n}, nil
}

// checkParts reports flags that do not go with a calibration in parts.
func (o options) checkParts() error {
	switch {
	case o.part.Parts > 0 && o.parts == "":
		return errors.New("fuse: -part needs -parts, the directory that it is written to")
	case o.parts != "" && o.calib == "":
		return errors.New("fuse: -parts needs -calib, the samples that all parts are of")
	}
	return nil
}

// partMoments is the most that a part holds of moments at once where -moments does not
// say, in bytes. It is the same on every machine, for other groups round otherwise.
const partMoments = 1 << 30

// collectPart writes a part of the calibration.
func (j *job) collectPart(ctx context.Context) error {
	method, set, calibration, err := j.method(ctx)
	if err != nil {
		return err
	}
	all, err := partsOf(calibration)
	if err != nil {
		return err
	}
	share, n := *calibration, calibration.Data.Len()
	if j.part.Parts > n {
		return fmt.Errorf("-part: %d samples do not make %d parts", n, j.part.Parts)
	}
	share.Data = share.Data.Slice((j.part.Part-1)*n/j.part.Parts, j.part.Part*n/j.part.Parts)
	part, err := fuse.NewPart(j.parts, j.part.Part, j.part.Parts, all, &share)
	if errors.Is(err, fs.ErrExist) {
		cli.Notice("%s of %s is there already", j.part, j.parts)
		return nil
	}
	if err != nil {
		return err
	}
	if set.Calibration = part; j.moments == 0 {
		set.MomentBytes = partMoments
	}
	if err := fuse.Collect(ctx, j.models[0], j.models[1:], method, set); err != nil {
		return err
	}
	if err := part.Finish(); err != nil {
		return err
	}
	cli.Notice("%s of %s: %d of %d samples", j.part, j.parts, share.Data.Len(), n)
	return nil
}

// openParts has the fusion look at the parts of a calibration in place of its samples.
// The caller closes them.
func (j *job) openParts(set *fuse.Settings, calibration *gomlx.Calibration) (*fuse.Parts, error) {
	if set.Refit != nil {
		return nil, errors.New("-parts: a refit asks about the fused model, which a calibration in parts does not know")
	}
	all, err := partsOf(calibration)
	if err != nil {
		return nil, err
	}
	parts, err := fuse.OpenParts(j.parts, all)
	if err == nil {
		set.Calibration = parts
	}
	return parts, err
}

// partsOf says what all parts of a calibration are of.
func partsOf(c *gomlx.Calibration) (string, error) {
	if c == nil {
		return "", errors.New("-parts: this -config looks at no samples")
	}
	digest, err := lab.Digest(c.Data)
	return fmt.Sprintf("%d samples, digest %s, tokens %T%+v, narrow %t", c.Data.Len(), digest, c.Tokens, c.Tokens,
		c.Narrow), err
}
