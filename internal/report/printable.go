package report

import (
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/gatewarden/gatewarden"
)

// How many characters of one string are shown: of a sentence, and of a name.
const (
	longestText = 1000
	longestName = 120
)

// Printable returns s as it can be shown on one line anywhere: a terminal is not
// steered by it, the direction of the text around it is not turned, and it is valid in
// XML 1.0. What can't be shown becomes U+FFFD, and a very long text is cut.
func Printable(s string) string { return printableUpTo(longestText, s) }

func printableName(s string) string { return printableUpTo(longestName, s) }

func printableUpTo(longest int, s string) string {
	n := 0
	s = strings.Map(func(r rune) rune {
		if n++; n > longest {
			return -1
		}
		switch {
		case r == '\n', r == '\r', r == '\t', r == '\u2028', r == '\u2029':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r), r == '\ufffe', r == '\uffff':
			return unicode.ReplacementChar
		}
		return r
	}, s)
	if n > longest {
		s += "…"
	}
	return s
}

// printable returns a copy of run in which every text is Printable.
func printable(run gatewarden.Run) gatewarden.Run {
	for _, s := range []*string{&run.ID, &run.Canary, &run.Key, (*string)(&run.State), &run.By} {
		*s = printableName(*s)
	}
	run.Reason = Printable(run.Reason)
	parameters := make(map[string]string, len(run.Parameters))
	for _, key := range slices.Sorted(maps.Keys(run.Parameters)) {
		parameters[printableName(key)] = Printable(run.Parameters[key])
	}
	run.Parameters = parameters
	if run.Override != nil {
		o := *run.Override
		o.State, o.By, o.Reason = gatewarden.RunState(printableName(string(o.State))), printableName(o.By), Printable(o.Reason)
		run.Override = &o
	}
	if run.Verdict != nil {
		v := printableVerdict(*run.Verdict)
		run.Verdict = &v
	}
	return run
}

func printableVerdict(v gatewarden.CanaryVerdict) gatewarden.CanaryVerdict {
	v.Reason, v.Leading = Printable(v.Reason), printableName(v.Leading)
	v.Checks = slices.Clone(v.Checks)
	for i := range v.Checks {
		v.Checks[i].Name = printableName(v.Checks[i].Name)
	}
	v.Suspects = slices.Clone(v.Suspects)
	for i := range v.Suspects {
		s := &v.Suspects[i]
		s.ID, s.TraceID, s.Route = printableName(s.ID), printableName(s.TraceID), printableName(s.Route)
	}
	return v
}
