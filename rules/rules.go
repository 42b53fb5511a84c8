package rules

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// Rules is what the rules files say, all files together.
type Rules struct {
	SLOs     []gatewarden.SLO          // in the order of the files
	Canaries []gatewarden.Canary       // in the order of the files
	Policies []gatewarden.ActionPolicy // in the order of the files
	// Guardrails bound all policies together.
	Guardrails gatewarden.Guardrails
	// Drift is when differences between Kong's nodes are a breach; with defaults, when the
	// files say nothing.
	Drift gatewarden.DriftPolicy
	Files []string // the files that were looked at, sorted

	slos     []*sloSpec    // what SLOs were built from, one for one
	canaries []*canarySpec // what Canaries were built from, one for one
	actions  []*actionSpec // what Policies were built from, one for one

	guardrails []*guardrailsSpec // more than one is a problem
	drifts     []*driftSpec      // likewise
}

// fileSpec is a rules file as it is written.
type fileSpec struct {
	SLOs     []*sloSpec    `yaml:"slos"`
	Canaries []*canarySpec `yaml:"canaries"`
	Actions  []*actionSpec `yaml:"actions"`

	Guardrails *guardrailsSpec `yaml:"guardrails"`
	Drift      *driftSpec      `yaml:"drift"`
}

// LoadRules reads rules files, and of folders the *.yaml and *.yml in them. The
// Rules are what could be understood, never nil; use them only when the problems'
// Err is nil.
func LoadRules(paths []string) (*Rules, Problems) {
	files, problems := listFiles(paths)
	docs := make([]*document, len(files))
	for i, file := range files {
		docs[i] = openDocument(file, nil)
	}
	r, more := loadRules(docs)
	return r, Join(problems, more)
}

// listFiles expands folders, and returns every file once, sorted.
func listFiles(paths []string) ([]string, Problems) {
	var files []string
	var problems []Problems
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || !info.IsDir() {
			files = append(files, filepath.Clean(path)) // opening it says what is wrong
			continue
		}
		entries, err := os.ReadDir(path)
		d := parseDocument(path, nil, nil)
		if err != nil {
			d.errorf(nil, hintForOpen(err), "%s", plainPathError(err))
		}
		n := len(files)
		for _, e := range entries {
			if isRulesFile(path, e) {
				files = append(files, filepath.Join(path, e.Name()))
			}
		}
		if n == len(files) && err == nil {
			d.warnf(nil, "put rules there, in files that end in .yaml", "there are no rules in this folder")
		}
		problems = append(problems, d.finish())
	}
	slices.Sort(files)
	return slices.Compact(files), Join(problems...)
}

// isRulesFile leaves out hidden files, which editors and Kubernetes' mounts make, tests of
// rules, and folders. A link counts as what it points to.
func isRulesFile(folder string, e fs.DirEntry) bool {
	name := e.Name()
	if ext := filepath.Ext(name); strings.HasPrefix(name, ".") || ext != ".yaml" && ext != ".yml" || strings.HasSuffix(name, "_test"+ext) {
		return false
	}
	info, err := os.Stat(filepath.Join(folder, name))
	return err != nil || !info.IsDir()
}

func loadRules(docs []*document) (*Rules, Problems) {
	r := &Rules{Drift: defaultDrift()}
	for _, d := range docs {
		r.Files = append(r.Files, d.name)
		r.read(d)
	}
	r.checkNames()
	r.checkReferences()
	r.checkWeights()
	r.checkSteering()
	r.checkGuardrails()
	r.checkDrift()
	r.aimAtCanaries()
	r.limitCanaries()
	problems := make([]Problems, len(docs))
	for i, d := range docs {
		problems[i] = d.finish()
	}
	return r, Join(problems...)
}

func (r *Rules) read(d *document) {
	var spec fileSpec
	if d.root == nil {
		if len(d.problems) == 0 {
			d.warnf(nil, "write slos:, canaries: or actions:", "the file is empty")
		}
		return
	}
	d.decode(d.root, &spec, "a rules file")
	if d.overfull {
		return // half of it was not read
	}
	for _, s := range spec.SLOs {
		s.doc = d
		r.slos = append(r.slos, s)
		r.SLOs = append(r.SLOs, s.build(d))
	}
	for _, c := range spec.Canaries {
		c.doc = d
		r.canaries = append(r.canaries, c)
		r.Canaries = append(r.Canaries, c.build(d))
	}
	for _, a := range spec.Actions {
		a.doc = d
		r.actions = append(r.actions, a)
		r.Policies = append(r.Policies, a.build(d))
	}
	if g := spec.Guardrails; g != nil {
		g.doc = d
		r.guardrails = append(r.guardrails, g)
		r.Guardrails = g.build(d)
	}
	if s := spec.Drift; s != nil {
		s.doc = d
		r.drifts = append(r.drifts, s)
		r.Drift = s.build(d)
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
