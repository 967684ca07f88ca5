package cli

import (
	"context"

	"github.com/otfuse/otfuse/models/hub"
)

// Checkpoints returns the directories of checkpoints that are named by directory or by
// their id on the Hugging Face hub. Files that are downloaded are told of on stderr.
func Checkpoints(ctx context.Context, names ...string) ([]string, error) {
	dirs := make([]string, len(names))
	for k, name := range names {
		var err error
		if dirs[k], err = hub.Dir(ctx, name, NoticeStages("hub")); err != nil {
			return nil, err
		}
	}
	return dirs, nil
}

// Tokenizer returns the path of a tokenizer that is named by file, by directory or by the
// id of a checkpoint on the Hugging Face hub.
func Tokenizer(ctx context.Context, name string) (string, error) {
	return hub.Tokenizer(ctx, name, NoticeStages("hub"))
}
