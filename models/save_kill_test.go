package models_test

import (
	"bufio"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// savingInto tells the child of [TestSaveKilled] where to save.
const savingInto = "OTFUSE_TEST_SAVING_INTO"

// TestSaveUntilKilled is the child of [TestSaveKilled]: it saves two models by turns
// until it is killed.
func TestSaveUntilKilled(t *testing.T) {
	dir := os.Getenv(savingInto)
	if dir == "" {
		t.Skip("this is a part of TestSaveKilled")
	}
	both := []*models.Model{seeded(t, 1), seeded(t, 2)}
	_, err := os.Stdout.WriteString("ready\n")
	require.NoError(t, err)
	for i := 0; ; i++ {
		require.NoError(t, both[i%2].Save(dir))
	}
}

// seeded returns a network of 100 kB.
func seeded(t *testing.T, seed uint64) *models.Model {
	t.Helper()
	net := modeltest.ViT()
	net.Config.Hidden, net.Config.MLP = 32, 128
	m, err := net.Model(seed)
	require.NoError(t, err)
	return m
}

// TestSaveKilled: whenever the process that saves is killed, there is a whole checkpoint,
// the older or the newer one, and the next save removes what is left over.
func TestSaveKilled(t *testing.T) {
	program, err := os.Executable()
	require.NoError(t, err)
	parent := t.TempDir()
	dir := filepath.Join(parent, "checkpoint")
	one, err := models.Open(saved(t, seeded(t, 1)))
	require.NoError(t, err)
	other, err := models.Open(saved(t, seeded(t, 2)))
	require.NoError(t, err)
	require.NoError(t, one.Save(dir))
	moments := rand.New(rand.NewPCG(1, 2))
	for range 12 {
		child := exec.Command(program, "-test.run", "^TestSaveUntilKilled$")
		child.Env = append(os.Environ(), savingInto+"="+dir)
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "ready\n", line)
		time.Sleep(time.Duration(moments.Int64N(int64(30 * time.Millisecond))))
		require.NoError(t, child.Process.Kill())
		var exit *exec.ExitError
		require.ErrorAs(t, child.Wait(), &exit)
		require.False(t, exit.Exited(), "the child ended by itself")

		found, err := models.Open(dir)
		require.NoError(t, err)
		require.True(t, reflect.DeepEqual(found.Params, one.Params) || reflect.DeepEqual(found.Params, other.Params))
	}
	require.NoError(t, one.Save(dir))
	entries, err := os.ReadDir(parent)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing is left over")
}
