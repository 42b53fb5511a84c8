package convert

import (
	"path/filepath"
	"strings"

	"github.com/gatewarden/gatewarden/rules"
)

// Source is a file to import.
type Source struct {
	Name string
	Text []byte
}

// Import makes rules of files of OpenSLO v1 and of Sloth's prometheus/v1, also as
// Kubernetes has those. What OpenSLO's documents refer to may be in any of the files. The
// problems are what can't be said in rules: errors where an SLO is left out. Without any
// SLO the text is nil.
func Import(files []Source) ([]byte, rules.Problems) {
	var list []*slo
	var all, open []*tree
	var problems rules.Problems
	var names []string
	for _, f := range files {
		docs, wrong := documents(f.Name, f.Text)
		problems = append(problems, wrong...)
		names = append(names, filepath.Base(f.Name))
		all = append(all, docs...)
		for _, t := range docs {
			switch v := t.top(); {
			case v.get("apiVersion").is("openslo/v1"):
				open = append(open, t)
			case v.get("version").is("prometheus/v1"):
				list = append(list, sloth(v)...)
				t.rest(slothHints())
			case v.get("apiVersion").is("sloth.slok.dev/v1"):
				v.get("kind").text()
				v.get("metadata").taken()
				list = append(list, sloth(v.get("spec"))...)
				t.rest(slothHints())
			default:
				v.lost("version: prometheus/v1 is Sloth's, apiVersion: openslo/v1 is OpenSLO's", "this is neither of Sloth nor of OpenSLO v1")
			}
		}
	}
	list = append(list, openSLOs(open)...)
	for _, t := range all {
		problems = append(problems, t.problems...)
	}
	if len(list) == 0 {
		return nil, rules.Join(problems)
	}
	text, more := render(list, strings.Join(names, ", "))
	return text, rules.Join(problems, more)
}
