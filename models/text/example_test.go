package text_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/text"
)

// vocabulary is a small vocabulary of BERT. That of a checkpoint is its vocab.txt
// or tokenizer.json, which [text.OpenTokenizer] reads.
var vocabulary = append(text.SpecialPieces(), "the", "river", "flow", "##s", "north", ".")

// From running text to a batch that a masked language model is trained on.
func Example() {
	tok, err := text.NewTokenizer(vocabulary)
	if err != nil {
		fmt.Println(err)
		return
	}
	seqs, err := text.Pack(tok, []string{"The river flows north.", "The river flows."}, 8)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("sequence", seqs[0])

	batch := text.Masking{Seed: 4}.Batch(tok, seqs, 0)
	fmt.Println("input   ", batch["input_ids"].Ints)
	fmt.Println("labels  ", batch[models.Labels].Ints)
	// Output:
	// sequence [2 5 6 7 8 9 10 3]
	// input    [2 5 6 7 8 4 10 3]
	// labels   [-100 -100 -100 -100 -100 9 -100 -100]
}

func ExampleNewTokenizer() {
	tok, err := text.NewTokenizer(vocabulary)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tok.Encode("The rivers flow NORTH, slowly."))
	fmt.Println("[UNK] is", tok.Special.UNK, "and there are", tok.Size(), "ids")
	// Output:
	// [5 6 8 7 9 1 1 10]
	// [UNK] is 1 and there are 11 ids
}

// A corpus is a folder or an archive with a text to train on and one to test on.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "corpus")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	for name, lines := range map[string]string{
		"train.txt": " = Rivers = \n\nThe river flows 4 @,@ 000 miles .\n",
		"valid.txt": "The <unk> flows north .\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(lines), 0o600); err != nil {
			fmt.Println(err)
			return
		}
	}
	corpus, err := text.Open(context.Background(), dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%q %q\n", corpus.Train, corpus.Test)
	// Output:
	// ["The river flows 4,000 miles ."] ["The [UNK] flows north ."]
}

// Sentences of GLUE as samples of a classifier.
func ExampleOpenTable() {
	path := filepath.Join(os.TempDir(), "otfuse-example.tsv")
	defer os.Remove(path)
	rows := "sentence\tlabel\nthe river flows\tmoving\nthe north\tstill\n"
	if err := os.WriteFile(path, []byte(rows), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	table, err := text.OpenTable(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	labels, err := table.IDs(table.Classes())
	if err != nil {
		fmt.Println(err)
		return
	}
	tok, err := text.NewTokenizer(vocabulary)
	if err != nil {
		fmt.Println(err)
		return
	}
	seqs, err := tok.EncodeBatch(table.Sentences, 6)
	if err != nil {
		fmt.Println(err)
		return
	}
	batch := text.Labeled(tok, seqs, labels)
	fmt.Println(table.Classes(), batch[models.Labels].Ints)
	fmt.Println(batch["input_ids"].Shape, batch["input_ids"].Ints)
	// Output:
	// [moving still] [0 1]
	// [2 6] [2 5 6 7 8 3 2 5 9 3 0 0]
}

// Sentences with a label each, as the tables of GLUE have them.
func ExampleLabeled() {
	tokenizer, err := text.NewTokenizer(append(text.SpecialPieces(), "good", "bad", "film"))
	if err != nil {
		fmt.Println(err)
		return
	}
	table := text.Table{Sentences: []string{"Good film", "Bad"}, Labels: []string{"positive", "negative"}}
	labels, err := table.IDs(table.Classes())
	if err != nil {
		fmt.Println(err)
		return
	}
	sequences, err := tokenizer.EncodeBatch(table.Sentences, 4)
	if err != nil {
		fmt.Println(err)
		return
	}
	batch := text.Labeled(tokenizer, sequences, labels)
	fmt.Println(table.Classes(), labels, batch["attention_mask"].Ints)
	// Output:
	// [negative positive] [1 0] [1 1 1 1 1 1 1 0]
}

// One sample for each word piece: exp of their mean loss is the
// pseudo-perplexity of the sequence.
func ExampleMaskEach() {
	tok, err := text.NewTokenizer(vocabulary)
	if err != nil {
		fmt.Println(err)
		return
	}
	seqs, err := tok.EncodeBatch([]string{"the river"}, 4)
	if err != nil {
		fmt.Println(err)
		return
	}
	batch := text.MaskEach(tok, seqs...)
	fmt.Println(batch["input_ids"].Shape, batch["input_ids"].Ints)
	// Output:
	// [2 4] [2 4 6 3 2 5 4 3]
}
