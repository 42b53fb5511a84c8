package app

import (
	"strings"
	"testing"
)

// The guard of docker-compose.yml uses everything that stands beside it, which nobody can
// start here; that its files say nothing wrong can be known. cmd/gatewarden runs a guard on them.
func TestTheConfigurationOfTheContainersIsRight(t *testing.T) {
	env := func(name string) (string, bool) { return "16686", name == "JAEGER_PORT" }
	problems, files := Check([]string{"../deploy/compose/gatewarden/gatewarden.yaml"}, env)
	var said strings.Builder
	if err := problems.Write(&said); err != nil || said.Len() > 0 {
		t.Error(said.String(), err)
	}
	if files < 2 {
		t.Errorf("%d files were read, want the rules as well", files)
	}
}
