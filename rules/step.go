package rules

import (
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

type divertSpec struct {
	Route string `yaml:"route"`
	To    string `yaml:"to"`
}

type serviceSpec struct {
	Name    string `yaml:"name"`
	Enabled bool   `yaml:"enabled"`
}

type slackSpec struct {
	URL     string        `yaml:"url"`
	URLFile string        `yaml:"url_file"`
	Timeout time.Duration `yaml:"timeout"`
}

type alertmanagerSpec struct {
	URL             string            `yaml:"url"`
	Labels          map[string]string `yaml:"labels"`
	BearerTokenFile string            `yaml:"bearer_token_file"`
	Timeout         time.Duration     `yaml:"timeout"`
}

// checkNamed reports a step that does not say which entity of Kong it changes.
func checkNamed(d *document, at *yaml.Node, key, what, name string) {
	switch name {
	case "":
		d.errorf(at, "add "+key+": NAME, as Kong calls it", "the step names no %s", what)
	case "*":
		d.errorf(at, "name one, and add a step for each other", "the step is for one %s", what)
	default:
		checkSelector(d, at, name)
	}
}

func (s *divertSpec) build(d *document) *gatewarden.DivertStep {
	checkNamed(d, d.find(&s.Route, s), "route", "route", s.Route)
	checkNamed(d, d.find(&s.To, s), "to", "service to divert to", s.To)
	return &gatewarden.DivertStep{Route: s.Route, To: s.To}
}

func (s *serviceSpec) build(d *document) *gatewarden.ServiceStep {
	checkNamed(d, d.find(&s.Name, s), "name", "service", s.Name)
	if d.find(&s.Enabled) == nil && !d.hasProblemIn(d.find(s)) {
		d.errorf(d.find(s), "add enabled: false", "the step does not say whether the service is to be enabled")
	}
	return &gatewarden.ServiceStep{Name: s.Name, Enabled: s.Enabled}
}

func (s *slackSpec) build(d *document) *gatewarden.SlackStep {
	switch {
	case d.find(&s.URL) != nil && d.find(&s.URLFile) != nil:
		d.errorf(d.find(&s.URLFile), "keep one of them", "the channel has both url and url_file")
	case d.find(&s.URLFile) != nil && s.URLFile != "":
	default:
		checkURL(d, d.find(&s.URL, s), "url", s.URL, "http", "https")
		if s.URL != "" {
			d.warnf(d.find(&s.URL), "put the URL into a file and name it with url_file", "who knows the URL can post to the channel, and it is kept in the journal")
		}
	}
	timeout := orDefault(d, &s.Timeout, defaultTimeout)
	checkTimeout(d, d.find(&s.Timeout, s), timeout)
	return &gatewarden.SlackStep{URL: s.URL, URLFile: siblingPath(d.name, s.URLFile), Timeout: gatewarden.Duration(timeout)}
}

func (s *alertmanagerSpec) build(d *document) *gatewarden.AlertmanagerStep {
	checkURL(d, d.find(&s.URL, s), "url", s.URL, "http", "https")
	for _, name := range sortedKeys(s.Labels) {
		if !labelShape.MatchString(name) {
			d.errorf(d.find(placeInMap{&s.Labels, name}), "letters, digits and _", "%q can't be the name of a label", name)
		}
	}
	timeout := orDefault(d, &s.Timeout, defaultTimeout)
	checkTimeout(d, d.find(&s.Timeout, s), timeout)
	return &gatewarden.AlertmanagerStep{
		URL: s.URL, Labels: s.Labels, BearerTokenFile: siblingPath(d.name, s.BearerTokenFile), Timeout: gatewarden.Duration(timeout),
	}
}
