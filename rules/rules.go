package rules

import (
	"cmp"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

// Rules is what the rules files say, all files together.
type Rules struct {
	SLOs     []gatewarden.SLO          // in the order of the files
	Policies []gatewarden.ActionPolicy // in the order of the files
	Files    []string                  // the files that were looked at, sorted

	slos    []*sloSpec    // what SLOs were built from, one for one
	actions []*actionSpec // what Policies were built from, one for one
}

// fileSpec is a rules file as it is written.
type fileSpec struct {
	SLOs    []*sloSpec    `yaml:"slos"`
	Actions []*actionSpec `yaml:"actions"`
}

func (*fileSpec) reserved() map[string]string {
	return map[string]string{"canaries": "remove it until then; slos and actions work"}
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

// isRulesFile leaves out hidden files, which editors and Kubernetes' mounts make, and
// folders. A link counts as what it points to.
func isRulesFile(folder string, e fs.DirEntry) bool {
	name := e.Name()
	if ext := filepath.Ext(name); strings.HasPrefix(name, ".") || ext != ".yaml" && ext != ".yml" {
		return false
	}
	info, err := os.Stat(filepath.Join(folder, name))
	return err != nil || !info.IsDir()
}

func loadRules(docs []*document) (*Rules, Problems) {
	r := &Rules{}
	for _, d := range docs {
		r.Files = append(r.Files, d.name)
		r.read(d)
	}
	r.checkNames()
	r.checkReferences()
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
			d.warnf(nil, "write slos: or actions:", "the file is empty")
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
	for _, a := range spec.Actions {
		a.doc = d
		r.actions = append(r.actions, a)
		r.Policies = append(r.Policies, a.build(d))
	}
}

// checkNames reports names that are borne twice, in one file or in two.
func (r *Rules) checkNames() {
	type owner struct {
		doc *document
		at  *yaml.Node
	}
	slos, actions := map[string]owner{}, map[string]owner{}
	claim := func(taken map[string]owner, what, name string, o owner) {
		first, twice := taken[name]
		switch {
		case name == "":
		case twice:
			o.doc.errorf(o.at, "choose another name for one of them", "the %s %q exists already, in %s:%d", what, name, first.doc.name, first.at.Line)
		default:
			taken[name] = o
		}
	}
	for _, s := range r.slos {
		claim(slos, "slo", s.Name, owner{s.doc, s.doc.find(&s.Name, s)})
	}
	for _, a := range r.actions {
		claim(actions, "action", a.Name, owner{a.doc, a.doc.find(&a.Name, a)})
	}
}

// checkReferences reports SLOs that name actions which do not exist, actions that
// nothing names, and steps that the fast line had better not take at once.
func (r *Rules) checkReferences() {
	byName := map[string]*actionSpec{}
	for _, a := range r.actions {
		byName[a.Name] = a
	}
	names := sortedKeys(byName)
	used, hasty := map[string]bool{}, map[string]string{}
	for _, s := range r.slos {
		for _, list := range []*[]string{&s.OnOutage, &s.OnPage, &s.OnTicket} {
			seen := map[string]bool{}
			for i, name := range *list {
				at := s.doc.find(&(*list)[i])
				if byName[name] == nil {
					s.doc.errorf(at, didYouMean(name, names, "define it under actions:, in any rules file"), "there is no action %q", name)
				}
				if seen[name] {
					s.doc.warnf(at, "remove one of them", "the action %q is named twice", name)
				}
				seen[name] = true
				used[name] = true
				if list == &s.OnOutage && !s.Outage.off {
					hasty[name] = cmp.Or(hasty[name], s.Name)
				}
			}
		}
	}
	for _, a := range r.actions {
		if a.Name != "" && !used[a.Name] {
			a.doc.warnf(a.doc.find(&a.Name), "name it in on_outage, on_page or on_ticket of an slo", "nothing starts the action %q", a.Name)
		}
		if slo := hasty[a.Name]; slo != "" {
			a.warnIrreversible(slo)
		}
	}
}

// warnIrreversible warns of steps that can't be taken back and yet run seconds after
// something broke (DESIGN §6).
func (a *actionSpec) warnIrreversible(slo string) {
	for _, s := range a.Steps {
		if (s.Jenkins != nil || s.Webhook != nil) && s.due == 0 {
			a.doc.warnf(a.doc.find(s), "add after: 2m, or put it into an action that on_page names",
				"the outage line of %s starts this within seconds, and it can't be undone", slo)
		}
	}
}

// CheckRules reports what the rules need and the configuration does not give: a
// step at a gateway whose Admin API is not named, a job without a Jenkins.
func (c *Config) CheckRules(r *Rules) Problems {
	var all []Problems
	for _, a := range r.actions {
		d := a.doc.fork()
		d.places = a.doc.places
		for _, s := range a.Steps {
			if s.Jenkins != nil && c.Jenkins.URL == "" {
				d.errorf(d.find(s), "add jenkins: {url: ...} to "+c.File, "this step needs Jenkins, and the configuration names none")
			}
			if (s.Plugin != nil || s.Weight != nil || s.Drain != nil) && c.Kong.AdminURL == "" {
				d.errorf(d.find(s), "add kong: {admin_url: ...} to "+c.File, "this step changes the gateway, and the configuration names no Admin API")
			}
		}
		all = append(all, d.finish())
	}
	return Join(all...)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
