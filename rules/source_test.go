package rules

import (
	"path/filepath"
	"strings"
	"testing"
)

// What an alias stands for is a part of the settings, wherever it is written.
func TestASourceHasChangedWhenItsAnchorHas(t *testing.T) {
	const config = `
sources:
  - httplog: &a {path: /one, node: &n {name: kong-1}}
  - httplog: *a
  - httplog: {path: /two, node: *n}
`
	text := func(config string) (list []string) {
		c, problems := LoadConfig(filepath.Join(writeFiles(t, map[string]string{"g.yaml": config}), "g.yaml"), testEnv)
		if len(problems) > 0 {
			t.Fatal(printed(problems))
		}
		for _, s := range c.Sources {
			list = append(list, s.Text())
		}
		return list
	}
	before, after := text(config), text(strings.Replace(config, "kong-1", "kong-2", 1))
	for i := range before {
		if before[i] == after[i] {
			t.Errorf("source %d has not changed:\n%s", i, before[i])
		}
	}
	if same := text("# a comment\n" + config); strings.Join(same, "") != strings.Join(before, "") {
		t.Errorf("another comment is another source:\n%s", same)
	}
}
