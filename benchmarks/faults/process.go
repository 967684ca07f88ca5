package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// patience is how long a child may take.
const patience = time.Minute

// process is a child at its job.
type process struct {
	cmd  *exec.Cmd
	out  *bufio.Reader
	stop context.CancelFunc
	ctx  context.Context
}

// spawn starts a child and waits until it begins.
func spawn(ctx context.Context, binary string, rights *syscall.SysProcAttr, job string, args ...string) (
	*process, error,
) {
	ctx, stop := context.WithTimeout(ctx, patience)
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), jobVariable+"="+job, "GOMLX_BACKEND=go:ops_sequential")
	cmd.SysProcAttr = rights
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		stop()
		return nil, err
	}
	p := &process{cmd, bufio.NewReader(pipe), stop, ctx}
	if line, err := p.out.ReadString('\n'); err != nil || strings.TrimSpace(line) != ready {
		stop()
		return nil, errors.Join(errors.New("the child does not begin"), err, cmd.Wait())
	}
	return p, nil
}

// killAfter kills the child after a time.
func (p *process) killAfter(d time.Duration) {
	time.Sleep(d)
	_ = p.cmd.Process.Kill() // it may have ended
	_, _ = io.Copy(io.Discard, p.out)
	_ = p.cmd.Wait() // it was killed
	p.stop()
}

// wait waits for the end of the child and returns what it said where it failed.
func (p *process) wait() (said string, v verdict) {
	defer p.stop()
	text, _ := io.ReadAll(p.out) // the status says more
	err := p.cmd.Wait()
	var exit *exec.ExitError
	switch {
	case p.ctx.Err() != nil:
		return "", hung
	case err == nil:
		return "", good
	case errors.As(err, &exit) && exit.ExitCode() == 2:
		return string(text), good
	}
	return string(text) + err.Error(), wrong
}
