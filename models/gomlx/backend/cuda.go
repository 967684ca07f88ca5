//go:build cgo && !noxla && linux && (amd64 || arm64)

package backend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gomlx/compute"
)

const (
	// xlaFlags holds options of XLA, which a plugin reads when it is opened.
	xlaFlags = "XLA_FLAGS"
	// dataDirFlag says where XLA finds ptxas and libdevice.
	dataDirFlag = "--xla_gpu_cuda_data_dir"
	// cudaChecks switches go-xla's search for NVIDIA's libraries off, which prints.
	cudaChecks = "GOPJRT_CUDA_CHECKS"
	// exactProducts keeps float32 products from being rounded to TF32 first.
	exactProducts = ",tf32=false"
)

// openCUDA opens a CUDA plugin with NVIDIA's libraries in a folder, which is laid out
// as Python's packages are; empty for those that the system finds. options follow
// its path in the configuration.
func openCUDA(plugin, libraries, options string) (compute.Backend, error) {
	if strings.Contains(plugin, ",") {
		return nil, fmt.Errorf("%s: a comma in the path would end it", plugin)
	}
	var missing error
	if libraries != "" {
		missing = preload(libraries)
		toolkit := filepath.Join(libraries, "cu13")
		defer setToolkit(toolkit)()
	}
	if _, given := os.LookupEnv(cudaChecks); !given {
		if err := os.Setenv(cudaChecks, "0"); err != nil {
			return nil, err
		}
	}
	b, err := openConfig("xla:" + plugin + exactProducts + options)
	if err != nil {
		return nil, errors.Join(err, missing)
	}
	return b, nil
}

// setToolkit tells XLA where the CUDA toolkit is, unless the user has. It returns
// what undoes it: a plugin reads the options once, when it is opened.
func setToolkit(folder string) (undo func()) {
	old, given := os.LookupEnv(xlaFlags)
	if strings.Contains(old, dataDirFlag) || strings.ContainsAny(folder, " \t") {
		return func() {}
	}
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return func() {}
	}
	_ = os.Setenv(xlaFlags, strings.TrimSpace(old+" "+dataDirFlag+"="+folder)) // fails for malformed names only
	return func() {
		if given {
			_ = os.Setenv(xlaFlags, old)
		} else {
			_ = os.Unsetenv(xlaFlags)
		}
	}
}

// cudaCandidates are the CUDA plugins to try, after a look at the GPUs. A request for
// CUDA alone tries them whatever that look says.
func (s *search) cudaCandidates(ctx context.Context, r request) []candidate {
	if err := seeNvidia(ctx, s.places).check(); err != nil && r.kind != cudaPlugin {
		refused := func(context.Context) (compute.Backend, error) { return nil, err }
		return []candidate{{name: "CUDA", cuda: true, open: refused}}
	}
	all := s.installed(r, func(name string) bool { return strings.HasPrefix(name, cudaPlugin) })
	return append(all,
		candidate{name: "CUDA plugin of the Python that has JAX", cuda: true,
			open: func(ctx context.Context) (compute.Backend, error) {
				plugin, libraries, err := jaxPlugin(ctx)
				if err != nil {
					return nil, err
				}
				return openCUDA(plugin, libraries, r.options)
			}},
		candidate{name: "CUDA plugin fetched by this library", cuda: true,
			open: func(ctx context.Context) (compute.Backend, error) {
				set := pinnedCUDA()
				dir, err := s.fetchedSet(ctx, set)
				if err != nil {
					return nil, err
				}
				return openCUDA(filepath.Join(dir, set.plugin), filepath.Join(dir, "nvidia"), r.options)
			}})
}
