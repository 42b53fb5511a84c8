package doctest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatewarden/gatewarden/app"
	"github.com/gatewarden/gatewarden/rules"
	"github.com/gatewarden/gatewarden/rules/unit"
)

// marked is the first line of a block that is a whole file.
var marked = regexp.MustCompile(`^# (?:(rules/[\w-]+\.yaml)|gatewarden\.yaml)\b`)

// test is the first line of a block that is a file of tests of rules.
var test = regexp.MustCompile(`^# tests/[\w-]+_test\.yaml\b`)

// testedRules stand beside a file of tests.
const testedRules = `
slos: [{name: orders, service: orders, objective: 99.9, sli: {availability: {}}, on_outage: [protect-orders]}]
actions: [{name: protect-orders, steps: [{drain: {upstream: orders, target_tag: v2}}]}]`

// testProblems loads a block as a file of tests, and runs it: a test that fails is a
// problem.
func testProblems(dir string, b block) (rules.Problems, bool, error) {
	file := filepath.Join(dir, "x_test.yaml")
	if err := os.MkdirAll(filepath.Join(dir, "rules"), 0o755); err != nil {
		return nil, true, err
	}
	for path, text := range map[string]string{filepath.Join(dir, "rules", "some.yaml"): testedRules, file: b.text} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, true, err
		}
	}
	suite, set, problems := unit.Load(file)
	if slices.ContainsFunc(problems, func(p rules.Problem) bool { return p.Severity == rules.SeverityError }) {
		return problems, true, nil
	}
	err := app.TestRules(context.Background(), suite, set, slog.New(slog.DiscardHandler), func(r app.RuleTestResult) {
		if r.Err != nil || len(r.Failures) > 0 {
			problems = append(problems, rules.Problem{File: file, Severity: rules.SeverityError, Message: fmt.Sprintf("%s: %v %+v", r.Test.Name, r.Err, r.Failures)})
		}
	})
	return problems, true, err
}

// someRules stand beside a configuration, which names the folder.
const someRules = `slos: [{name: all, service: "*", objective: 99, sli: {availability: {}}}]`

// problemsOf loads a block as the file that its first line names, and reports false
// when it names none.
func problemsOf(dir string, b block) (rules.Problems, bool, error) {
	if test.MatchString(b.text) {
		return testProblems(dir, b)
	}
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
		"a test that fails":                 "# tests/x_test.yaml\nrules: [rules/]\ntests: [{name: x, traffic: [{service: orders, rps: 1x5}], expect: [{at: 5s, slos: {orders: outage}}]}]\n",
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
