package rules

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the expected problems in testdata")

func testEnv(name string) (string, bool) {
	value, ok := map[string]string{"TOKEN": "hunter22", "PORT": "8080"}[name]
	return value, ok
}

// Each file holds cases: a sentence after ===, a YAML file, and after >>> the problems
// as they are printed, nothing when there are none.
func TestProblems(t *testing.T) {
	for file, load := range map[string]func(yaml string) Problems{
		"testdata/rules.txt": func(yaml string) Problems {
			_, ps := loadRules([]*document{parseDocument("rules.yaml", []byte(yaml), nil)})
			return ps
		},
		"testdata/config.txt": func(yaml string) Problems {
			_, ps := loadConfig(parseDocument("gatewarden.yaml", []byte(yaml), testEnv))
			return ps
		},
	} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var rewritten strings.Builder
		for _, c := range strings.Split(string(b), "=== ")[1:] {
			sentence, rest, _ := strings.Cut(c, "\n")
			yaml, want, found := strings.Cut(rest, ">>>\n")
			if !found {
				t.Fatalf("%s: %q has no >>>", file, sentence)
			}
			var got strings.Builder
			t.Run(sentence, func(t *testing.T) {
				ps := load(yaml)
				if err := ps.Write(&got); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got.String()); diff != "" && !*update {
					t.Errorf("problems (-want +got):\n%s", diff)
				}
				if strings.Contains(got.String(), "hunter2") {
					t.Errorf("a secret is shown:\n%s", got.String())
				}
			})
			rewritten.WriteString("=== " + sentence + "\n" + yaml + ">>>\n" + got.String())
		}
		if *update {
			if err := os.WriteFile(file, []byte(rewritten.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
