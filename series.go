package gatewarden

import (
	"slices"
	"strings"
)

// SignalTraces is the Signal of spans that were traced.
const SignalTraces = "traces"

// Series names what a Tally is kept for, and selects the records that belong to
// it. An empty field means any; the zero Series is the whole gateway.
type Series struct {
	// Signal is compared as it is: "" selects the requests that Kong logged, and
	// nothing else. See Record.Signal.
	Signal    string `json:"signal,omitempty"`
	Workspace string `json:"workspace,omitempty"`
	Service   string `json:"service,omitempty"`
	Route     string `json:"route,omitempty"`
	Consumer  string `json:"consumer,omitempty"`
	Tag       string `json:"tag,omitempty"`
}

// Overflow is the service name of the series that takes what is beyond the limit
// on series.
const Overflow = "__overflow__"

// Matches reports whether r belongs to the series.
func (s Series) Matches(r *Record) bool {
	return s.Signal == r.Signal &&
		(s.Service == "" || s.Service == r.Service) &&
		(s.Route == "" || s.Route == r.Route) &&
		(s.Consumer == "" || s.Consumer == r.Consumer) &&
		(s.Workspace == "" || s.Workspace == r.Workspace) &&
		(s.Tag == "" || slices.Contains(r.Tags, s.Tag))
}

// String returns the set fields as a label list: `service="orders",route="list"`,
// or "everything" for the zero Series.
func (s Series) String() string {
	var b strings.Builder
	for _, f := range [...]struct{ name, value string }{
		{"signal", s.Signal},
		{"workspace", s.Workspace},
		{"service", s.Service},
		{"route", s.Route},
		{"consumer", s.Consumer},
		{"tag", s.Tag},
	} {
		if f.value == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(f.name + `="` + f.value + `"`)
	}
	if b.Len() == 0 {
		return "everything"
	}
	return b.String()
}
