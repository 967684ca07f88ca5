package otfuse_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/otfuse/otfuse"

// layers is the picture of who may depend on whom, directly or not. Subpackages
// that are not listed belong to the layer they lie in. A layer may also use
// itself, the standard library and such internal packages as keep to its rule.
var layers = map[string]struct {
	layers    []string
	libraries []string
}{
	".":                  {},
	"ot":                 {libraries: numeric},
	"graph":              {layers: []string{"ot"}, libraries: numeric},
	"align":              {layers: []string{"ot", "graph"}, libraries: numeric},
	"models":             {layers: []string{"ot", "graph", "align", "models/safetensors"}, libraries: numericAndFiles},
	"models/safetensors": {libraries: []string{"golang.org/x/sys"}},
	"models/data": {layers: []string{"ot", "graph", "align", "models", "models/safetensors"}, libraries: []string{
		"gonum.org/v1/gonum", "golang.org/x/image", "golang.org/x/sync", "golang.org/x/sys",
		"github.com/gofrs/flock"}}, // downloads are locked
	"models/text": {layers: []string{"ot", "graph", "align", "models", "models/safetensors"}, libraries: []string{
		// its tokenizer brings its hub along
		"gonum.org/v1/gonum", "github.com/gomlx/go-huggingface", "github.com/gomlx/compute/support/humanize",
		"github.com/gofrs/flock", "github.com/google/uuid", "github.com/pkg/errors", "golang.org/x/sys",
		"golang.org/x/text"}},
	"models/hub": {layers: []string{"ot", "graph", "align", "models", "models/safetensors"}, libraries: []string{
		"gonum.org/v1/gonum", "github.com/gomlx/go-huggingface", "github.com/gomlx/compute/support/humanize",
		"github.com/gofrs/flock", "github.com/google/uuid", "github.com/pkg/errors", "golang.org/x/sys"}},
	"fuse": {layers: []string{"ot", "graph", "align", "models", "models/safetensors"},
		libraries: numericAndFiles},
	"models/modeltest": {layers: []string{"ot", "graph", "align", "models", "models/safetensors", "fuse"},
		libraries: numericAndFiles},
	"models/gomlx": {layers: []string{"ot", "graph", "align", "models", "models/safetensors"},
		libraries: []string{""}},
	"internal":   {layers: []string{""}, libraries: []string{""}},
	"examples":   {layers: []string{""}, libraries: []string{""}},
	"benchmarks": {layers: []string{""}, libraries: []string{""}},
}

// numeric is what package ot and all above it stand on: gonum, and what the
// processor can do.
var numeric = []string{"gonum.org/v1/gonum", "golang.org/x/sys/cpu"}

// numericAndFiles is what packages stand on that also read and write
// checkpoints: the system can exchange two directories.
var numericAndFiles = []string{"gonum.org/v1/gonum", "golang.org/x/sys"}

// importers are the packages that alone may import a module.
var importers = map[string]string{
	"github.com/gomlx/gomlx":   "models/gomlx",
	"github.com/gomlx/compute": "models/gomlx",
	"github.com/gomlx/go-xla":  "models/gomlx/backend",
}

// pkg is what go list says of a package.
type pkg struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

func TestLayout(t *testing.T) {
	pkgs := listed(t)
	require.Contains(t, pkgs, module, "go list ran elsewhere")
	for name := range layers {
		switch name {
		case ".", "internal", "examples", "benchmarks":
		default:
			assert.Contains(t, pkgs, module+"/"+name, "the picture shows a package that is gone")
		}
	}
	assert.Empty(t, violations(pkgs))
}

func TestLayoutFindsViolations(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     string
	}{
		{module + "/ot", module + "/graph", "ot depends on graph"},
		{module + "/ot/ottest", "github.com/elsewhere/lib", "ot/ottest depends on github.com/elsewhere/lib"},
		{module + "/graph", module + "/internal/bridge", "graph depends on github.com/elsewhere/lib"},
		{module + "/models", module + "/models/data", "models depends on models/data"},
		{module + "/models/data", module + "/models/text", "models/data depends on models/text"},
		{module + "/fuse", module + "/models/gomlx", "fuse depends on models/gomlx"},
		{module + "/internal/bridge", "github.com/gomlx/gomlx/core/graph",
			"internal/bridge imports github.com/gomlx/gomlx/core/graph"},
		{module + "/examples/any", "github.com/gomlx/compute/dtypes", "examples/any imports github.com/gomlx/compute/dtypes"},
		{module + "/models/gomlx", "github.com/gomlx/go-xla/pjrt", "models/gomlx imports github.com/gomlx/go-xla/pjrt"},
		{module + "/util", "", "util is in no layer"},
	} {
		pkgs := map[string]pkg{
			module + "/internal/bridge": {Imports: []string{"github.com/elsewhere/lib"}},
			module + "/models/gomlx":    {Imports: []string{"github.com/gomlx/gomlx/core/graph"}},
			module + "/models/gomlx/backend": {Imports: []string{"github.com/gomlx/go-xla/pjrt",
				"github.com/gomlx/compute/dtypes"}},
			module + "/examples/any":            {Imports: []string{module + "/models/gomlx"}},
			module + "/graph":                   {Imports: []string{"gonum.org/v1/gonum/mat", "math"}},
			"github.com/elsewhere/lib":          {},
			"github.com/gomlx/gomlx/core/graph": {},
			"github.com/gomlx/compute/dtypes":   {},
			"github.com/gomlx/go-xla/pjrt":      {},
			"math":                              {Standard: true},
		}
		assert.Empty(t, violations(pkgs))
		from := pkgs[c.from]
		if c.to != "" {
			from.Imports = append(from.Imports, c.to)
		}
		pkgs[c.from] = from
		assert.Contains(t, violations(pkgs), c.want)
	}
}

// listed returns the packages of the module and all they depend on, without
// the imports of tests.
func listed(t *testing.T) map[string]pkg {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,Standard",
		"./...").Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		t.Fatalf("go list: %v\n%s", err, exit.Stderr)
	}
	require.NoError(t, err)
	pkgs := map[string]pkg{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return pkgs
		}
		require.NoError(t, err)
		pkgs[p.ImportPath] = p
	}
}

// violations says where the packages depart from the picture.
func violations(pkgs map[string]pkg) []string {
	var found []string
	for path, p := range pkgs {
		name, ours := local(path)
		if !ours {
			continue
		}
		layer, known := layerOf(name)
		if !known {
			found = append(found, name+" is in no layer")
			continue
		}
		for _, to := range p.Imports {
			for library, importer := range importers {
				if within(to, library) && !within(name, importer) {
					found = append(found, fmt.Sprintf("%s imports %s", name, to))
				}
			}
		}
		rule := layers[layer]
		for to := range closure(pkgs, path) {
			toName, ours := local(to)
			toLayer, _ := layerOf(toName)
			switch {
			case pkgs[to].Standard, ours && (toLayer == layer || toLayer == "internal"):
			case ours && (slices.Contains(rule.layers, toLayer) || slices.Contains(rule.layers, "")):
			case !ours && withinAny(to, rule.libraries):
			default:
				found = append(found, fmt.Sprintf("%s depends on %s", name, toName))
			}
		}
	}
	slices.Sort(found)
	return found
}

// closure is the set of packages that path depends on.
func closure(pkgs map[string]pkg, path string) map[string]bool {
	seen := map[string]bool{}
	todo := slices.Clone(pkgs[path].Imports)
	for len(todo) > 0 {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[next] {
			continue
		}
		seen[next] = true
		if !pkgs[next].Standard { // what it imports is standard too, or cgo
			todo = append(todo, pkgs[next].Imports...)
		}
	}
	return seen
}

// local returns the path of a package of the module without the module's.
func local(path string) (name string, ours bool) {
	if path == module {
		return ".", true
	}
	if name, ours := strings.CutPrefix(path, module+"/"); ours {
		return name, true
	}
	return path, false
}

// layerOf returns the layer that a package lies in, the innermost of several.
func layerOf(name string) (layer string, known bool) {
	for l := range layers {
		if within(name, l) && len(l) > len(layer) {
			layer = l
		}
	}
	return layer, layer != ""
}

// within tells whether a package is the one called root or lies below it. All
// lie below the root without a name.
func within(name, root string) bool {
	return root == "" || name == root || strings.HasPrefix(name, root+"/")
}

// withinAny tells whether a package is one of the roots or lies below one.
func withinAny(name string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return within(name, root) })
}
