package data

import (
	"path"
	"slices"
	"strings"
)

// splitOf returns the split that a folder of this name holds, empty for others:
// "Validation" holds "val", "training_set" and "seg_train" hold "train".
func splitOf(folder string) string {
	words := strings.FieldsFunc(strings.ToLower(folder), func(r rune) bool { return strings.ContainsRune("_- .", r) })
	if len(words) == 0 {
		return ""
	}
	for _, word := range []string{words[0], words[len(words)-1]} {
		switch word {
		case "train", "training":
			return "train"
		case "val", "valid", "validation", "dev", "eval":
			return "val"
		case "test", "testing":
			return "test"
		}
	}
	return ""
}

// arrange gives images their splits and classes, by the folders that they lie in,
// and counts the files that belong to no class.
func (l *listing) arrange() {
	root := commonFolder(l.pictures)
	classOf := l.splitFolders(root)
	if classOf == nil {
		classOf = classFolders(root, l.pictures)
	}
	var kept []picture
	for _, p := range l.pictures {
		p.split, p.class = classOf(p.name)
		// Images of val may be named by a list, and those of test need no labels.
		if p.class == "" && p.split != "val" {
			l.skip(p.name)
			continue
		}
		kept = append(kept, p)
	}
	for _, name := range l.others {
		if _, class := classOf(name); class != "" {
			l.skip(name)
		}
	}
	l.pictures = sorted(kept)
}

// skip counts a file that is not read.
func (l *listing) skip(name string) {
	if l.skipped++; l.skipped == 1 || name < l.skippedName {
		l.skippedName = name
	}
}

// commonFolder is the innermost folder that all images lie in, with a slash at its
// end, or nothing.
func commonFolder(pictures []picture) string {
	if len(pictures) == 0 {
		return ""
	}
	folder := path.Dir(pictures[0].name) + "/"
	for _, p := range pictures {
		for !strings.HasPrefix(p.name, folder) {
			folder = strings.TrimSuffix(folder, "/")
			folder = folder[:strings.LastIndexByte(folder, '/')+1]
		}
	}
	return folder
}

// A classFunc returns the split and the class of a file.
type classFunc func(name string) (split, class string)

// splitFolders reads train|val|test/<class>/…/<image>. It returns nil where no
// folder is that of a split.
func (l *listing) splitFolders(root string) classFunc {
	from := strings.Count(root, "/") // folders that all images lie in are no splits
	within := func(name string) (split string, rest []string) {
		parts := strings.Split(name, "/")
		for i := max(from, 0); i < len(parts)-1; i++ {
			if split := splitOf(parts[i]); split != "" {
				return split, parts[i+1:]
			}
		}
		return "", nil
	}
	hasTrain := func() bool {
		return slices.ContainsFunc(l.pictures, func(p picture) bool {
			split, rest := within(p.name)
			return split == "train" && len(rest) > 1
		})
	}
	for !hasTrain() { // all images may lie in one split
		if from--; from < 0 {
			break
		}
	}
	doubled := map[string]bool{"train": true, "val": true, "test": true} // train/train/<class>
	for _, p := range l.pictures {
		split, rest := within(p.name)
		if split == "" && from < 0 {
			return nil // test_tube is a class beside others
		}
		doubled[split] = doubled[split] && isDoubled(split, rest)
	}
	return func(name string) (split, class string) {
		split, rest := within(name)
		if doubled[split] && isDoubled(split, rest) {
			rest = rest[1:]
		}
		if len(rest) < 2 {
			return split, ""
		}
		return split, rest[0]
	}
}

// isDoubled reports whether a file lies in a folder of its split twice. The class of
// train/train/<image> may be called train.
func isDoubled(split string, rest []string) bool {
	return len(rest) > 1 && splitOf(rest[0]) == split && (len(rest) > 2 || split != "train")
}

// classFolders reads <class>/…/<image>, all of which are to train on.
func classFolders(root string, pictures []picture) classFunc {
	nested := slices.ContainsFunc(pictures, func(p picture) bool {
		return strings.Contains(strings.TrimPrefix(p.name, root), "/")
	})
	if !nested { // there is one class, and root is its folder
		root = strings.TrimSuffix(root, path.Base(root)+"/")
	}
	return func(name string) (split, class string) {
		rest, ok := strings.CutPrefix(name, root)
		class, _, nested := strings.Cut(rest, "/")
		if !ok || !nested {
			return "train", ""
		}
		return "train", class
	}
}
