package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// mainEnv makes the test binary the program itself, so that a test can start it as a
// process of its own, and kill it.
const mainEnv = "GATEWARDEN_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainEnv) == "1" {
		main()
	}
	testscript.Main(m, map[string]func(){"gatewarden": main})
}
