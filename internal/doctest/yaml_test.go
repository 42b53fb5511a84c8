package doctest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatewarden/gatewarden/app"
	"github.com/gatewarden/gatewarden/rules"
)

// marked is the first line of a block that is a whole file.
var marked = regexp.MustCompile(`^# (?:(rules/[\w-]+\.yaml)|gatewarden\.yaml)\b`)

// someRules stand beside a configuration, which names the folder.
const someRules = `slos: [{name: all, service: "*", objective: 99, sli: {availability: {}}}]`

// problemsOf loads a block as the file that its first line names, and reports false
// when it names none.
func problemsOf(dir string, b block) (rules.Problems, bool, error) {
	m := marked.FindStringSubmatch(b.text)
	if m == nil {
		return nil, false, nil
	}
	files := map[string]string{"gatewarden.yaml": b.text, "rules/some.yaml": someRules}
	file := "gatewarden.yaml"
	if m[1] != "" {
		file = m[1]
		files = map[string]string{file: b.text}
	}
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, true, err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, true, err
		}
	}
	problems, _ := app.Check([]string{filepath.Join(dir, filepath.FromSlash(file))}, func(string) (string, bool) { return "", false })
	return problems, true, nil
}

func TestRulesAndConfigurationsLoadWithoutAWarning(t *testing.T) {
	found := map[string]int{}
	for _, d := range manual(t) {
		for _, b := range blocks(d.name, d.text) {
			t.Run(fmt.Sprintf("%s line %d", b.file, b.line), func(t *testing.T) {
				problems, isFile, err := problemsOf(t.TempDir(), b)
				if err != nil {
					t.Fatal(err)
				}
				if !isFile && b.info == "yaml" && strings.Contains(b.text, "slos:") {
					t.Errorf("rules whose first line is no comment such as # rules/shop.yaml are not looked at")
				}
				if isFile {
					found[b.file]++
				}
				for _, p := range problems {
					t.Errorf("%s (%s)", p, p.Hint)
				}
			})
		}
	}
	for _, name := range []string{"README.md", "README.zh-CN.md", "docs/rules.md", "docs/configuration.md"} {
		if found[name] == 0 {
			t.Errorf("%s has no block of rules or configuration: the test does not see them", name)
		}
	}
}

func TestWhatIsWrongInABlockIsFound(t *testing.T) {
	for sentence, text := range map[string]string{
		"an unknown key of rules":           "# rules/x.yaml\nslos: [{nane: x}]\n",
		"an unknown key of a configuration": "# gatewarden.yaml\nlisten: {apj: \":1\"}\n",
		"an unknown setting of a source":    "# gatewarden.yaml\nsources: [{httplog: {pfad: /x}}]\n",
	} {
		t.Run(sentence, func(t *testing.T) {
			problems, isFile, err := problemsOf(t.TempDir(), block{text: text})
			if err != nil || !isFile || len(problems) == 0 {
				t.Errorf("problems %v, a file %v, %v; want a problem", problems, isFile, err)
			}
		})
	}
}
