package text_test

import (
	"fmt"

	"github.com/otfuse/otfuse/models/text"
)

// Paragraphs become sequences of one length, and these samples for a masked
// language model.
func Example() {
	vocabulary := append(text.SpecialPieces(), "trans", "##port", "moves", "mass")
	tokenizer, err := text.NewTokenizer(vocabulary)
	if err != nil {
		fmt.Println(err)
		return
	}
	paragraphs := []string{"Transport moves mass.", "Mass moves mass, moves mass."}
	fmt.Println(tokenizer.Encode("Transport moves mass"))
	sequences, err := text.Pack(tokenizer, paragraphs, 6)
	if err != nil {
		fmt.Println(err)
		return
	}
	batch := text.Masking{Seed: 1}.Batch(tokenizer, sequences, 0)
	fmt.Println(batch["input_ids"].Shape, batch["labels"].Shape)
	// Output:
	// [5 6 7 8]
	// [3 6] [3 6]
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
