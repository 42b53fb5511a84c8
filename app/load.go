package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector/promquery"
	"github.com/gatewarden/gatewarden/rules"
)

// settings are the files in force: how to run, and what to protect.
type settings struct {
	config *rules.Config
	rules  *rules.Rules
	prints fingerprint // of the files, taken before the rules were read
}

// load reads the configuration and the rules that it names, and finds everything
// that is wrong with either without touching the outside.
func load(file string, env func(string) (string, bool)) (settings, rules.Problems) {
	config, problems := rules.LoadConfig(file, env)
	problems = rules.Join(problems, checkSources(config))
	prints := takeFingerprint(file, config.Rules)
	set, ruleProblems := rules.LoadRules(config.Rules)
	problems = rules.Join(problems, ruleProblems, config.CheckRules(set), checkCounters(config, set), checkLate(config, set), set.CheckQueries(promquery.Check))
	return settings{config, set, prints}, problems
}

// checkSources reports sources of unknown kinds and wrong settings of the known.
func checkSources(config *rules.Config) rules.Problems {
	known := map[string]func(decode func(any) error) error{}
	var kinds []string
	for _, f := range factories() {
		known[f.Kind] = f.Check
		kinds = append(kinds, f.Kind)
	}
	problems := config.CheckKinds(kinds)
	for _, s := range config.Sources {
		check, ok := known[s.Kind]
		if !ok {
			continue // CheckKinds has said so
		}
		err := check(s.Decode)
		if err == nil {
			continue
		}
		if list, ok := errors.AsType[*rules.LoadError](err); ok {
			problems = append(problems, list.Problems...)
			continue
		}
		p := rules.Problem{File: s.File, Line: s.Line, Severity: rules.SeverityError, Message: err.Error()}
		if e, ok := errors.AsType[*gatewarden.Error](err); ok {
			p.Message, p.Hint = e.Message, e.Hint
		}
		problems = append(problems, p)
	}
	return append(problems, pathsTwice(config.Sources)...)
}

// pathsTwice reports sources on the ingest listener whose path is another one's already.
func pathsTwice(sources []rules.Source) rules.Problems {
	taken := map[string]string{}
	var problems rules.Problems
	for _, s := range sources {
		if s.Kind != "httplog" && s.Kind != "zipkin" {
			continue
		}
		path := settingsOf(s).text("path")
		if other, twice := taken[path]; twice {
			problems = append(problems, rules.Problem{
				File: s.File, Line: s.Line, Severity: rules.SeverityError,
				Message: fmt.Sprintf("%s: the path %s is that of the source %s already", s.Kind, path, other),
				Hint:    "give each source on the ingest listener a path of its own",
			})
		}
		taken[path] = s.Kind
	}
	return problems
}

// Check finds everything that is wrong with the given files and folders: each a
// configuration file with the rules that it names, a folder with such a file in it,
// or rules. It returns how many files were looked at.
func Check(paths []string, env func(string) (string, bool)) (rules.Problems, int) {
	var (
		problems rules.Problems
		ruleArgs []string
		files    int
	)
	for _, path := range paths {
		if file, ok := configIn(path); ok {
			path = file
		}
		if !isConfig(path) {
			ruleArgs = append(ruleArgs, path)
			continue
		}
		s, found := load(path, env)
		problems = rules.Join(problems, found)
		files += 1 + len(s.rules.Files)
	}
	if len(ruleArgs) > 0 {
		set, found := rules.LoadRules(ruleArgs)
		problems = rules.Join(problems, found, set.CheckQueries(promquery.Check))
		files += len(set.Files)
	}
	return problems, files
}

// configName is what a configuration file is called when nobody says otherwise.
const configName = "gatewarden.yaml"

// configIn returns the configuration file in a folder, and whether there is one.
func configIn(folder string) (string, bool) {
	file := filepath.Join(folder, configName)
	info, err := os.Stat(file)
	return file, err == nil && info.Mode().IsRegular()
}

// isConfig tells a configuration file from rules: by its keys, and by its name when
// it has none of either's or cannot be read as YAML.
func isConfig(path string) bool {
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return err != nil && !errors.Is(err, fs.ErrNotExist)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	var top map[string]yaml.Node
	if yaml.Unmarshal(data, &top) == nil {
		switch {
		case hasKey(top, "slos", "actions", "canaries", "guardrails", "drift"):
			return false
		case hasKey(top, "listen", "state", "rules", "sources", "kong", "jenkins", "log", "web", "tracing", "audit", "blind_after", "pause_file"):
			return true
		}
	}
	return strings.HasPrefix(filepath.Base(path), "gatewarden")
}

func hasKey(m map[string]yaml.Node, keys ...string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { _, ok := m[k]; return ok })
}
