package atomicfile

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// childJob makes the test binary do one job on the target named by childPath,
// so that a test can kill it.
const (
	childJob  = "ATOMICFILE_TEST_JOB"
	childPath = "ATOMICFILE_TEST_PATH"
)

func TestMain(m *testing.M) {
	path := os.Getenv(childPath)
	switch os.Getenv(childJob) {
	case "":
		os.Exit(m.Run())
	case "die in file":
		_ = WriteFile(path, func(w io.Writer) error {
			_, _ = io.WriteString(w, strings.Repeat("half ", 100_000))
			return suicide()
		})
	case "die in dir":
		_ = WriteDir(path, "marker", func(dir string) error {
			if err := fill(dir, "half"); err != nil {
				return err
			}
			return suicide()
		})
	case "write until killed":
		for i := 0; ; i++ {
			err := WriteDir(path, "marker", func(dir string) error { return fill(dir, fmt.Sprint("generation ", i)) })
			if err != nil {
				fmt.Println(err)
				os.Exit(3)
			}
			fmt.Println("written")
		}
	}
	os.Exit(4) // the jobs end by being killed
}

func suicide() error {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	if err := self.Kill(); err != nil {
		return err
	}
	select {}
}

func child(t *testing.T, job, path string) *exec.Cmd {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), childJob+"="+job, childPath+"="+path)
	return cmd
}

// killed tells that the child neither ended by itself nor gave up.
func killed(t *testing.T, err error) {
	t.Helper()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.False(t, exit.Exited(), "%v", err)
}

// fill puts a marker and three files with the same text into dir.
func fill(dir, text string) error {
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755); err != nil {
		return err
	}
	for _, name := range []string{"marker", "a", "sub/b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// filled returns the text that fill put into dir, and that dir is whole.
func filled(t *testing.T, dir string) string {
	t.Helper()
	text := read(t, filepath.Join(dir, "marker"))
	require.Equal(t, text, read(t, filepath.Join(dir, "a")))
	require.Equal(t, text, read(t, filepath.Join(dir, "sub/b")))
	return text
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

// list returns the names in dir.
func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}
