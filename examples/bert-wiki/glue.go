package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/otfuse/otfuse/internal/language"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/internal/story"
	"github.com/otfuse/otfuse/internal/training"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/text"
)

// glue is a task of GLUE: sentences to classify.
type glue struct {
	*job
	name    string
	classes []string
	tok     *text.Tokenizer
	seqs    [][]int32
	labels  []int32
	dev     models.Batch
}

// openGlue reads train.tsv and dev.tsv.
func openGlue(dir string, j *job) (*glue, error) {
	train, err := text.OpenTable(filepath.Join(dir, "train.tsv"))
	if err != nil {
		return nil, fmt.Errorf("bert-wiki: -glue: %w", err)
	}
	dev, err := text.OpenTable(filepath.Join(dir, "dev.tsv"))
	if err != nil {
		return nil, fmt.Errorf("bert-wiki: -glue: %w", err)
	}
	g := &glue{job: j, name: filepath.Base(dir), classes: train.Classes(), tok: j.texts.Tok}
	if len(g.classes) < 2 {
		return nil, fmt.Errorf("bert-wiki: -glue: train.tsv has the label %q alone", g.classes[0])
	}
	length := len(j.texts.Train[0])
	if g.seqs, err = g.tok.EncodeBatch(train.Sentences, length); err != nil {
		return nil, err
	}
	if g.labels, err = train.IDs(g.classes); err != nil {
		return nil, err
	}
	labels, err := dev.IDs(g.classes)
	if err != nil {
		return nil, fmt.Errorf("bert-wiki: -glue: dev.tsv: %w", err)
	}
	seqs, err := g.tok.EncodeBatch(dev.Sentences, length)
	if err != nil {
		return nil, err
	}
	g.dev = text.Labeled(g.tok, seqs, labels)
	return g, nil
}

// finetune makes a classifier of each fused model and of the parents, trains all
// on equal budgets, the same batches in the same order, and scores them on
// dev.tsv.
func (g *glue) finetune(s *story.Story) error {
	order := data.Sampler{N: len(g.seqs), Batch: min(batchSize, len(g.seqs)), Seed: 3_000_003 + g.seed}
	steps := max(int(g.epochs*float64(order.StepsPerEpoch())), 1)
	feed := func(step int) (models.Batch, error) {
		var seqs [][]int32
		var labels []int32
		for _, i := range order.Indices(step) {
			seqs, labels = append(seqs, g.seqs[i]), append(labels, g.labels[i])
		}
		return text.Labeled(g.tok, seqs, labels), nil
	}
	first, err := models.Classify(s.Parents[0], g.classes, g.seed)
	if err != nil {
		return err
	}
	t, err := g.device.Trainer(first, gomlx.TrainConfig{Steps: steps, LR: g.lr, Warmup: steps / 10, WeightDecay: 0.01, Clip: 1})
	if err != nil {
		return err
	}
	defer t.Close()
	for _, st := range s.Starts() {
		started := time.Now()
		m, err := models.Classify(st.Model, g.classes, g.seed)
		if err != nil {
			return err
		}
		if err := t.Reset(m); err != nil {
			return err
		}
		r := training.Run{Trainer: t, Feed: feed, Steps: steps, Every: steps, Look: func(int, *models.Model) error { return nil }}
		st.Row.Label += story.Tuned + " on " + g.name
		if m, err = r.Do(s.Context(), st.Row.Label); err != nil {
			return err
		}
		st.Row.Finetuned, st.Row.Seconds = steps, time.Since(started).Seconds()
		if err := g.add(s, st.Row, m); err != nil {
			return err
		}
	}
	return nil
}

// add scores a classifier, adds its row and saves that of the main fusion.
func (g *glue) add(s *story.Story, row report.Row, m *models.Model) error {
	score, err := g.device.Evaluate(s.Context(), g.dev, language.ScoreBatch, m)
	if err != nil {
		return err
	}
	row.Score(score)
	s.Add(row)
	if row.Label == s.Main().Label+story.Tuned+" on "+g.name {
		return m.Save(filepath.Join(g.out, "classifier"))
	}
	return nil
}
