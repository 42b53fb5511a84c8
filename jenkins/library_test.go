// Package jenkins_test looks at the shared library and at the examples of pipelines as far as that can be done
// without Java: `make jenkins-test` runs them.
package jenkins_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const examples = "../examples/ci"

// flags are those of the verbs that pipelines call; what comes after the last one in a
// command is the shell's.
var flags = map[string][]string{
	"gate": {
		"--server", "--timeout", "--run", "--param", "--key", "--junit", "--json", "--markdown", "--html", "--token-file",
		"--output", "--replace", "--unreachable", "--by",
	},
	"canary": {"--server", "--by", "--reason", "--token-file"},
}

// files returns the texts of the files that match any of the patterns, and fails when
// one matches none.
func files(t *testing.T, patterns ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range patterns {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("nothing matches %s (%v)", pattern, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = string(text)
		}
	}
	return all
}

var (
	folded  = regexp.MustCompile(`\\\n\s*|\n\s+--`) // a command goes on in the next line
	command = regexp.MustCompile(`\bgatewarden (gate|canary) [^\n]*`)
	flag    = regexp.MustCompile(`(?:^|[\s'])(--[a-z-]+)`)
)

// strangers returns the flags that commands in a text use and that their verb has not,
// and how many commands there are.
func strangers(text string) (unknown []string, commands int) {
	text = folded.ReplaceAllStringFunc(text, func(s string) string {
		if strings.HasSuffix(s, "--") {
			return " --"
		}
		return " "
	})
	for _, m := range command.FindAllStringSubmatch(text, -1) {
		commands++
		for _, f := range flag.FindAllStringSubmatch(m[0], -1) {
			if !slices.Contains(flags[m[1]], f[1]) {
				unknown = append(unknown, f[1])
			}
		}
	}
	return unknown, commands
}

// The program declares a flag by its name in quotes.
func TestTheFlagsAreTheProgramsOwn(t *testing.T) {
	var source strings.Builder
	for _, text := range files(t, "../cmd/gatewarden/gate*.go", "../cmd/gatewarden/canary*.go", "../cmd/gatewarden/client.go", "../cmd/gatewarden/print.go") {
		source.WriteString(text)
	}
	for verb, names := range flags {
		for _, name := range append(names, "--no-such-flag") {
			if found := strings.Contains(source.String(), `"`+strings.TrimPrefix(name, "--")+`"`); found == (name == "--no-such-flag") {
				t.Errorf("%s %s: in the program's source: %v", verb, name, found)
			}
		}
	}
}

func TestPipelinesUseFlagsThatThereAre(t *testing.T) {
	for name, text := range files(t, examples+"/*.yml") {
		unknown, commands := strangers(text)
		if len(unknown) > 0 {
			t.Errorf("%s uses %v", name, unknown)
		}
		if commands == 0 {
			t.Errorf("%s has no command: the test does not see it", name)
		}
	}
}

// The library builds its command out of words in quotes.
func TestTheLibraryUsesFlagsThatThereAre(t *testing.T) {
	for name, text := range files(t, "src/gatewarden/Gate.groovy") {
		used := flag.FindAllStringSubmatch(text, -1)
		if len(used) < 8 {
			t.Errorf("%s uses only %d flags: the test does not see them", name, len(used))
		}
		for _, f := range used {
			if !slices.Contains(flags["gate"], f[1]) {
				t.Errorf("%s uses %s", name, f[1])
			}
		}
	}
}

func TestAFlagThatThereIsNotIsFound(t *testing.T) {
	for sentence, text := range map[string]string{
		"on the command's line":           "run: gatewarden gate orders --sever x",
		"behind a backslash":              "gatewarden gate orders \\\n  --server x --sever y \\\n  --json z",
		"in a folded block":               "- >-\n  exec gatewarden gate orders\n  --server x\n  --sever y",
		"which belongs to the other verb": "gatewarden canary pass run-1 --junit x",
	} {
		t.Run(sentence, func(t *testing.T) {
			if unknown, _ := strangers(text); len(unknown) != 1 {
				t.Errorf("found %v", unknown)
			}
		})
	}
}

func TestTheYAMLParses(t *testing.T) {
	for name, text := range files(t, examples+"/*.yml") {
		var content map[string]any
		if err := yaml.Unmarshal([]byte(text), &content); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// step is a call of one of the library's steps with its options, as far as the names of
// options are words before a colon and outside of brackets and quotes.
var step = regexp.MustCompile(`\b(canaryGate|canaryGateHttp|canaryOverride|rollbackOnce)\(((?:[^()]|\([^()]*\))*)\)`)

// options returns the names of the options in the arguments of a call.
func options(args string) []string {
	args = regexp.MustCompile(`"[^"]*"|'[^']*'`).ReplaceAllString(args, "x")
	args = regexp.MustCompile(`\[[^\[\]]*\]`).ReplaceAllString(args, "x")
	var names []string
	for _, m := range regexp.MustCompile(`(?:^|,)\s*(\w+):`).FindAllStringSubmatch(args, -1) {
		names = append(names, m[1])
	}
	return names
}

// The help of a step is what people read, so every option that an example uses is in it.
func TestExamplesUseOptionsThatTheHelpExplains(t *testing.T) {
	help := files(t, "vars/*.txt")
	seen := 0
	texts := files(t, examples+"/jenkins/Jenkinsfile.*", "README.md", "vars/*.txt")
	for name, text := range texts {
		for _, call := range step.FindAllStringSubmatch(text, -1) {
			for _, option := range options(call[2]) {
				seen++
				row := regexp.MustCompile(`<td>(\w+, )*` + option + `(, \w+)*</td>`)
				if !row.MatchString(help["vars/"+call[1]+".txt"]) {
					t.Errorf("%s: %s(%s: …) is not in the help of the step", name, call[1], option)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d options seen: the test does not see them", seen)
	}
}

func TestEveryStepHasItsHelp(t *testing.T) {
	for name := range files(t, "vars/*.groovy") {
		if _, err := os.Stat(strings.TrimSuffix(name, ".groovy") + ".txt"); err != nil {
			t.Error(err)
		}
	}
}

// Maven and Jenkins bring their own settings: where packages come from is not the
// repository's to say.
func TestNoRegistryIsNamed(t *testing.T) {
	pattern := regexp.MustCompile(`(?i)<repositor|<mirror|repo\.|registry\.|\bpkg\.`)
	for name, text := range files(t, "pom.xml", "README.md", "vars/*", "src/gatewarden/*", "test/java/gatewarden/pipeline/*", examples+"/*.*", examples+"/jenkins/*") {
		if found := pattern.FindString(text); found != "" {
			t.Errorf("%s names %q", name, found)
		}
	}
}
