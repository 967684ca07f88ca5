//go:build cgo && !noxla && linux && (amd64 || arm64)

package backend

// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include <dlfcn.h>
import "C" //nolint:gocritic // cgo has it stand alone

import (
	"errors"
	"fmt"
	"path/filepath"
	"unsafe" //nolint:gocritic // cgo adds an import of its own
)

// preloaded are the libraries that XLA's CUDA plugin opens by their bare names, in
// an order in which none needs a later one. The paths are relative to the folder of
// NVIDIA's packages for Python.
func preloaded() []string {
	return []string{
		"cu13/lib/libcudart.so.*", "cu13/lib/libnvJitLink.so.*", "cu13/lib/libnvrtc.so.*", "cu13/lib/libcublasLt.so.*",
		"cu13/lib/libcublas.so.*", "cu13/lib/libcusparse.so.*", "cu13/lib/libcusolver.so.*", "cu13/lib/libcufft.so.*",
		"cu13/lib/libcupti.so.*", "nccl/lib/libnccl.so.*", "nvshmem/lib/libnvshmem_host.so.*",
		"cudnn/lib/libcudnn.so.*",
	}
}

// preload loads NVIDIA's libraries from a folder for as long as the process lives: a
// library that is loaded is found by its name, wherever it lies. The error says what
// could not be loaded, which may not matter.
func preload(folder string) error {
	var failed []error
	for _, pattern := range preloaded() {
		found, err := filepath.Glob(filepath.Join(folder, filepath.FromSlash(pattern)))
		if err != nil || len(found) == 0 {
			continue // the linker may find it elsewhere
		}
		name := C.CString(found[0])
		if C.dlopen(name, C.RTLD_LAZY|C.RTLD_LOCAL) == nil {
			failed = append(failed, fmt.Errorf("library %s: %s", filepath.Base(found[0]), C.GoString(C.dlerror())))
		}
		C.free(unsafe.Pointer(name))
	}
	return errors.Join(failed...)
}
