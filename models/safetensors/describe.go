package safetensors

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// describable is the number of bytes from which [Describe] knows a file.
const describable = 256

// Describe says what a file is that stands where a file of a checkpoint is expected,
// given its first bytes: the leftovers of a download that went wrong, and formats that
// other programs write. It returns "" for everything else.
func Describe(start []byte) string {
	text := bytes.TrimLeft(bytes.TrimPrefix(start, []byte("\xef\xbb\xbf")), " \t\r\n")
	lower := bytes.ToLower(text[:min(len(text), 16)])
	has := func(of []byte, prefix string) bool { return bytes.HasPrefix(of, []byte(prefix)) }
	switch {
	case has(text, "../") && bytes.Contains(text, []byte("/blobs/")):
		return fmt.Sprintf("a link of Hugging Face's cache copied as text, to %.100q, which is not there", text)
	case has(text, "version https://git-lfs."), has(text, "version https://hawser."):
		return "a Git LFS pointer, not the file that it stands for (git lfs pull fetches it)"
	case has(lower, "<!doctype"), has(lower, "<html"), has(lower, "<head"), has(lower, "<!--"):
		return "a web page (HTML), not the file that was to be downloaded"
	case has(lower, "<?xml"):
		return "an XML text, not the file that was to be downloaded"
	case has(start, "PK\x03\x04"):
		return "a zip archive, as torch.save writes it (safetensors.torch.save_file converts it)"
	case len(start) > 1 && start[0] == 0x80 && start[1] >= 2 && start[1] <= 5 && !has(start[2:], "\x00"):
		return "a Python pickle, as older versions of torch.save write it (safetensors.torch.save_file converts it)"
	case has(start, "GGUF"):
		return "a GGUF file"
	case has(start, "\x89HDF\r\n"):
		return "an HDF5 file, as Keras writes it"
	case has(start, "\x1f\x8b"):
		return "a gzip archive"
	case has(text, "{\"error\""), has(lower, "entry not found"), has(lower, "invalid usernam"),
		has(lower, "access to model"):
		return fmt.Sprintf("an error message of a server: %.100q", text)
	}
	return ""
}

// Follow returns the path of the file that a link stands for. Links themselves are
// followed by the system. Where they were copied without links, as by an archive or
// by git on Windows, a snapshot of Hugging Face's cache consists of texts that name
// the blobs: of such a text the blob is returned. Any other path is returned as it is.
func Follow(path string) string {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > describable {
		return path
	}
	text, err := os.ReadFile(path)
	if err != nil || !regexp.MustCompile(`^(\.\./){1,8}blobs/[0-9a-f]{40,64}\s*$`).Match(text) {
		return path
	}
	blob := filepath.Join(filepath.Dir(path), filepath.FromSlash(string(bytes.TrimSpace(text))))
	if info, err = os.Stat(blob); err != nil || !info.Mode().IsRegular() {
		return path
	}
	return blob
}
