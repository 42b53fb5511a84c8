package doctest

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// systemd gives up after five starts in ten seconds unless it is told not to, and a guard
// that is down takes nothing back.
func TestTheUnitIsStartedAgainForEver(t *testing.T) {
	text, err := os.ReadFile("../../deploy/systemd/gatewarden.service")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string][]string{}
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		}
		sections[section] = append(sections[section], line)
	}
	for section, want := range map[string]string{"[Service]": "Restart=always", "[Unit]": "StartLimitIntervalSec=0"} {
		if !slices.Contains(sections[section], want) {
			t.Errorf("%s has no %s", section, want)
		}
	}
}
