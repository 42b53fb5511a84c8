package gatewarden

import "time"

// Alert is one that somebody else raised, such as a Prometheus by its Alertmanager. Its
// Fingerprint tells it from others.
type Alert struct {
	Fingerprint string            `json:"fingerprint"`
	Labels      map[string]string `json:"labels"`
	Summary     string            `json:"summary,omitempty"`
	Firing      bool              `json:"firing"`
	StartsAt    time.Time         `json:"starts_at"`
}

// Matcher selects alerts: all its labels must be there with these values.
type Matcher map[string]string

// Matches reports whether an alert has the labels. A Matcher without any matches none.
func (m Matcher) Matches(a *Alert) bool {
	for name, value := range m {
		if got, ok := a.Labels[name]; !ok || got != value {
			return false
		}
	}
	return len(m) > 0
}
