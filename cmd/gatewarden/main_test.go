package main

import (
	"flag"
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
	// The tests of whole processes wait for most of their time: more at once than
	// there are cores. The command line overrides this.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){"gatewarden": main})
}
