package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/dataset/fetch"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/models"
)

// work makes the tables that are this process's, or trains the parents that are.
func (b *bench) work(ctx context.Context, w io.Writer) error {
	if b.train {
		return b.trainParents(ctx)
	}
	mine, err := cli.Items(b.item, len(b.names))
	if err != nil {
		return fmt.Errorf("paper: %w", err)
	}
	for _, i := range mine {
		if err := b.table(ctx, b.names[i], w); err != nil {
			return fmt.Errorf("%s: %w", b.names[i], err)
		}
	}
	return nil
}

// table makes a table, unless it is there already, and prints it.
func (b *bench) table(ctx context.Context, name string, w io.Writer) error {
	r, err := b.kept(ctx, name)
	if err != nil {
		return err
	}
	if r != nil {
		cli.Notice("%s is there already; without %s it is made again", name, r.path(b.out))
		return errors.Join(b.publishPage(ctx), r.print(w))
	}
	if err := b.open(ctx); err != nil {
		return err
	}
	if r, err = b.tabulate(ctx, name); err != nil {
		return err
	}
	return errors.Join(r.publish(b.out), b.publishPage(ctx), r.print(w))
}

// publishPage writes the page of all results, one process at a time.
func (b *bench) publishPage(ctx context.Context) error {
	unlock, err := fetch.Lock(ctx, filepath.Join(b.cache, "results"))
	if err != nil {
		return err
	}
	defer unlock()
	return publishAll(b.out)
}

// open opens the device, once.
func (b *bench) open(ctx context.Context) (err error) {
	if b.device == nil {
		b.device, err = cli.Open(ctx)
	}
	return err
}

// distinctParents lists the parents of the tables that are trained, each once.
func (b *bench) distinctParents() (out []kind) {
	seen := map[string]bool{}
	for _, name := range b.names {
		for _, group := range tableNamed(b.scale, name).parents(b.scale) {
			for _, k := range group {
				if key := fmt.Sprintf("%+v", k); k.Train.Epochs > 0 && !seen[key] {
					seen[key] = true
					out = append(out, k)
				}
			}
		}
	}
	return out
}

// trainParents trains the parents that are this process's and neither shipped nor there.
func (b *bench) trainParents(ctx context.Context) error {
	all := b.distinctParents()
	mine, err := cli.Items(b.item, len(all))
	if err != nil {
		return fmt.Errorf("paper: %w", err)
	}
	if err := b.open(ctx); err != nil {
		return err
	}
	for _, i := range mine {
		s := &study{bench: b}
		if s.task, err = b.task(ctx, all[i]); err == nil {
			_, err = s.parent(ctx, all[i])
		}
		if err != nil {
			return fmt.Errorf("paper: parent %d: %w", i, err)
		}
	}
	return nil
}

// trained returns the parent in a directory, which it trains where it is missing. Another
// process that wants the same one waits.
func (s *study) trained(ctx context.Context, k kind, dir string) (*models.Model, error) {
	unlock, err := fetch.Lock(ctx, dir+".parent")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if m, err := models.Open(dir); !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	p, err := lab.NewScratch(s.task, k.Net, k.Train)
	if err != nil {
		return nil, err
	}
	p.Out = dir
	if err := p.Train(ctx, s.device); err != nil {
		return nil, err
	}
	return models.Open(dir)
}
