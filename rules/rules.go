package rules

import "github.com/gatewarden/gatewarden"

// Rules is what the rules files say, all files together.
type Rules struct {
	SLOs     []gatewarden.SLO          // in the order of the files
	Policies []gatewarden.ActionPolicy // in the order of the files
	Files    []string                  // the files that were read, sorted; watch them for changes
}

// LoadRules reads rules files, and of folders the *.yaml and *.yml in them. The
// Rules are what could be understood, never nil; use them only when the problems'
// Err is nil.
func LoadRules(paths []string) (*Rules, Problems) { return &Rules{}, nil }

// Override changes a setting as `--set key=value` does: slo.objective, slo.window or
// slo.outage.ratio of every SLO, slo.NAME.objective and so on of one. The value is
// written as in a rules file. On an error nothing has changed.
func (r *Rules) Override(key, value string) error { return nil }
