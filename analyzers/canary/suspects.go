package canary

import (
	"cmp"
	"slices"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// maxText bounds the strings of a suspect: they come from outside.
const maxText = 256

// addSuspect remembers o if it is among the first of its second: failures before slow
// requests, then by time and id, so that the order of arrival does not matter.
func addSuspect(list []gatewarden.Suspect, o *gatewarden.Observation) []gatewarden.Suspect {
	if o.ID == "" && o.TraceID == "" {
		return list
	}
	s := gatewarden.Suspect{At: o.At.UTC(), ID: o.ID, TraceID: o.TraceID, Route: o.Route, Failed: o.Failed}
	if !o.Failed {
		s.Latency = gatewarden.Duration(o.Latency)
	}
	i, _ := slices.BinarySearchFunc(list, s, compareSuspects)
	if i >= maxSuspect {
		return list
	}
	s.ID, s.TraceID, s.Route = clip(s.ID), clip(s.TraceID), clip(s.Route)
	list = slices.Insert(list, i, s)
	return list[:min(len(list), maxSuspect)]
}

// mergeSuspects keeps the latest ones of a run, those that failed before others.
func mergeSuspects(known, more []gatewarden.Suspect) []gatewarden.Suspect {
	if len(more) == 0 {
		return known
	}
	all := slices.Concat(more, known)
	slices.SortStableFunc(all, compareFailed)
	return slices.Clip(all[:min(len(all), maxSuspect)])
}

func compareSuspects(a, b gatewarden.Suspect) int {
	return cmp.Or(compareFailed(a, b), a.At.Compare(b.At), cmp.Compare(a.ID, b.ID), cmp.Compare(a.TraceID, b.TraceID))
}

func compareFailed(a, b gatewarden.Suspect) int {
	switch {
	case a.Failed == b.Failed:
		return 0
	case a.Failed:
		return -1
	}
	return 1
}

func clip(s string) string { return strings.Clone(s[:min(len(s), maxText)]) }
