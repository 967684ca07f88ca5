package main

import (
	"testing"

	"github.com/otfuse/otfuse/internal/testxla"
)

func TestMain(m *testing.M) { testxla.MainInGo(m) }
