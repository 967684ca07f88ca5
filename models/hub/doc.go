// Package hub finds checkpoints by their id on the Hugging Face hub: in the local
// cache first, which it shares with transformers, else on the network.
//
//	dir, err := hub.Dir(ctx, "google/vit-base-patch16-224", nil)
//	m, err := models.Open(dir)
//
// An id is owner/name, or a name alone, and may end in @revision: a branch, a tag or a
// commit. A local path of that name always wins.
//
// These environment variables mean what they mean to the Python library:
//
//   - HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME: where the cache is, by default
//     ~/.cache/huggingface/hub
//   - HF_TOKEN, HF_TOKEN_PATH: the token for private and gated checkpoints, by default
//     the one that a login has left in HF_HOME
//   - HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE: 1 for the cache alone
//   - HF_ENDPOINT: the address of the hub or of a mirror
package hub
