package app

import (
	"os"
	"path/filepath"
	"testing"
)

const oneSLO = "slos: [{name: orders, service: orders, objective: 99.9, sli: {availability: {}}}]\n"

// writeConfig writes a configuration with rules into a folder of its own.
func writeConfig(t *testing.T, config, ruleText string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "rules"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{configName: config, "rules/shop.yaml": ruleText} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestAFileThatChangesAfterItWasReadIsReadAgain(t *testing.T) {
	folder := writeConfig(t, "log: {level: warn}\n", oneSLO)
	file := filepath.Join(folder, configName)
	set, problems := load(file, os.LookupEnv)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if takeFingerprint(file, set.config.Rules) != set.prints {
		t.Error("nothing has changed, and it would be read again")
	}
	if err := os.WriteFile(filepath.Join(folder, "rules", "more.yaml"), []byte("# more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if takeFingerprint(file, set.config.Rules) == set.prints {
		t.Error("a new file of rules does not show")
	}
}

func TestCheckKnowsAConfigurationFromRules(t *testing.T) {
	for sentence, c := range map[string]struct {
		config, rules, path string
		files, errors       int
	}{
		"a folder with a configuration is that and its rules": {"log: {level: warn}\n", oneSLO, ".", 2, 0},
		"a folder without is rules":                           {"log: {level: warn}\n", oneSLO, "rules", 1, 0},
		"an empty configuration is all defaults":              {"", oneSLO, configName, 2, 0},
		"rules with a misspelt first key are still rules":     {"", "slo: []\n", "rules/shop.yaml", 1, 1},
		"a configuration is known by one good key":            {"kogn: {}\nlog: {}\n", oneSLO, configName, 2, 1},
		"two sources cannot listen at one path":               {"sources: [{httplog: {}}, {zipkin: {path: /ingest/kong}}, {zipkin: {}}]\n", oneSLO, ".", 2, 1},
		"what is not there is one error":                      {"", oneSLO, "elsewhere/gatewarden.yaml", 1, 1},
	} {
		t.Run(sentence, func(t *testing.T) {
			folder := writeConfig(t, c.config, c.rules)
			problems, files := Check([]string{filepath.Join(folder, c.path)}, os.LookupEnv)
			if files != c.files || len(problems.Errors()) != c.errors {
				t.Errorf("%d files, %d errors; want %d, %d: %v", files, len(problems.Errors()), c.files, c.errors, problems)
			}
		})
	}
}
