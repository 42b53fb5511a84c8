package rules

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

// selectorSpec has exactly one of its keys.
type selectorSpec struct {
	Target         wordsSpec `yaml:"target"`
	TargetTag      wordsSpec `yaml:"target_tag"`
	Service        wordsSpec `yaml:"service"`
	Route          wordsSpec `yaml:"route"`
	ResponseHeader wordsSpec `yaml:"response_header"`
	RequestHeader  wordsSpec `yaml:"request_header"`
}

// selectorHint says what a track may look like.
func selectorHint(track string) string {
	version := "v1"
	if track == gatewarden.TrackCanary.String() {
		version = "v2"
	}
	return fmt.Sprintf(`write %s: {target_tag: "version:%s"}, or one of target, service, route, response_header, request_header`, track, version)
}

func (s *selectorSpec) decodeNode(d *document, n *yaml.Node, name string) {
	if n.Kind != yaml.MappingNode {
		d.reject(n, selectorHint(name), "%s must say by what its requests are known, this is %s", name, describe(n))
		return
	}
	type shape selectorSpec
	d.decode(n, (*shape)(s), name)
}

// maxTrackValues bounds a track: its values are compared with each other.
const maxTrackValues = 256

// wordsSpec is one word, or a list of them.
type wordsSpec struct{ list []string }

func (w *wordsSpec) decodeNode(d *document, n *yaml.Node, name string) {
	switch n.Kind {
	case yaml.MappingNode:
		hint := "write one, or several in [ ]"
		if strings.HasSuffix(name, "_header") {
			hint = `write "X-Version: v2", in quotes`
		}
		d.reject(n, hint, "%s must be text, this is %s", name, describe(n))
	case yaml.SequenceNode:
		if len(n.Content) > maxTrackValues {
			d.reject(n, "give targets a tag in Kong, and write target_tag", "%s: a track has at most %d values, here are %d", name, maxTrackValues, len(n.Content))
			return
		}
		d.decode(n, &w.list, name)
	default:
		w.list = make([]string, 1)
		d.decode(n, &w.list[0], name)
	}
}

// tracks makes the selectors. Of one that is wrong the kind is "".
func (c *canarySpec) tracks(d *document) [2]gatewarden.Selector {
	var tracks [2]gatewarden.Selector
	for i, s := range []*selectorSpec{&c.Baseline, &c.Canary} {
		tracks[i] = s.build(d, c, gatewarden.Track(i))
	}
	return tracks
}

func (s *selectorSpec) build(d *document, c *canarySpec, track gatewarden.Track) gatewarden.Selector {
	var made []gatewarden.Selector
	for _, f := range []struct {
		kind  gatewarden.SelectorKind
		words *wordsSpec
		build func(*wordsSpec, *document, gatewarden.SelectorKind) gatewarden.Selector
	}{
		{gatewarden.ByTarget, &s.Target, (*wordsSpec).names},
		{gatewarden.ByTargetTag, &s.TargetTag, (*wordsSpec).names},
		{gatewarden.ByService, &s.Service, (*wordsSpec).names},
		{gatewarden.ByRoute, &s.Route, (*wordsSpec).names},
		{gatewarden.ByResponseHeader, &s.ResponseHeader, (*wordsSpec).headers},
		{gatewarden.ByRequestHeader, &s.RequestHeader, (*wordsSpec).headers},
	} {
		if d.find(f.words) != nil {
			made = append(made, f.build(f.words, d, f.kind))
		}
	}
	at := d.find(s)
	switch {
	case len(made) == 1:
		return made[0]
	case len(made) > 1:
		d.errorf(at, "keep one of them", "a track is known by one thing, here are %d", len(made))
	case at == nil:
		d.errorf(d.find(c), selectorHint(track.String()), "the canary does not say which requests are the %s's", track)
	case !d.hasProblemIn(at):
		d.errorf(at, selectorHint(track.String()), "the canary does not say which requests are the %s's", track)
	}
	return gatewarden.Selector{}
}

// names makes a selector by names of Kong's. Of one that is wrong the kind is "".
func (w *wordsSpec) names(d *document, kind gatewarden.SelectorKind) gatewarden.Selector {
	s := gatewarden.Selector{Kind: kind}
	for i, name := range w.list {
		at := d.find(&w.list[i])
		switch {
		case name == "":
			d.errorf(at, "name it, or remove the key", "the name is empty")
			s.Kind = ""
		case strings.Contains(name, "*"):
			d.errorf(at, "name each; several are a list in [ ]", "%q: patterns are not supported", name)
			s.Kind = ""
		default:
			w.add(d, at, &s, name)
		}
	}
	return w.filled(d, s)
}

var headerShape = regexp.MustCompile("^[a-z0-9!#$%&'*+.^_`|~-]+$")

// headers makes a selector by a header, which may have several values. Of one that is
// wrong the kind is "".
func (w *wordsSpec) headers(d *document, kind gatewarden.SelectorKind) gatewarden.Selector {
	s := gatewarden.Selector{Kind: kind}
	for i, text := range w.list {
		at := d.find(&w.list[i])
		name, value, _ := strings.Cut(text, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case value == "" || !headerShape.MatchString(name):
			d.errorf(at, `write "X-Version: v2"`, "%q is not a header with its value", text)
			s.Kind = ""
			continue
		case value == "*":
			d.errorf(at, "give the value; the baseline may be a service or a route instead", "values of headers are compared whole, so this is no pattern")
			s.Kind = ""
		case s.Header != "" && name != s.Header:
			d.errorf(at, "keep to one header; it may have several values", "a track has one header, here are %s and %s", s.Header, name)
			s.Kind = ""
			continue
		case name == "cookie" || name == "set-cookie":
			d.warnf(at, "select by the route that the cookie leads to, or by a header that the upstream answers with", "this compares all cookies of a request as one text, which hardly ever fits")
		}
		s.Header = name
		w.add(d, at, &s, value)
	}
	return w.filled(d, s)
}

// add takes up a value, once.
func (w *wordsSpec) add(d *document, at *yaml.Node, s *gatewarden.Selector, value string) {
	if s.Has(value) {
		d.warnf(at, "remove one of them", "%q is there twice", value)
		return
	}
	s.Values = append(s.Values, value)
}

// filled refuses an empty list.
func (w *wordsSpec) filled(d *document, s gatewarden.Selector) gatewarden.Selector {
	if len(w.list) == 0 {
		d.errorf(d.find(w), "name at least one", "the list is empty")
		s.Kind = ""
	}
	return s
}

// checkTracks reports pairs that can't be compared.
func (c *canarySpec) checkTracks(d *document, out *gatewarden.Canary) {
	base, can := out.Tracks[gatewarden.TrackBaseline], out.Tracks[gatewarden.TrackCanary]
	at := d.find(&c.Canary, c)
	if up := d.find(&c.Upstream); up != nil && (c.Upstream == "" || strings.Contains(c.Upstream, "*")) {
		d.errorf(up, "write it as Kong calls it, or remove the key", "%q can't be the name of an upstream", c.Upstream)
	}
	if base.Kind == "" || can.Kind == "" {
		return // that has been said
	}
	switch {
	case base.Targets() != can.Targets():
		targets, other := can, base
		if base.Targets() {
			targets, other = base, can
		}
		d.errorf(at, "select both by target or target_tag, or neither", "canary and baseline can't be compared: one is a set of targets (%s), the other is not (%s)", targets, other)
		return
	case can.Targets() && out.Upstream == "" && d.find(&c.Upstream) == nil:
		d.errorf(at, "add upstream: NAME, as Kong calls it; without it the upstream is called as service: is", "the tracks are targets, and of which upstream is not said")
	case !can.Targets() && d.find(&c.Upstream) != nil:
		d.warnf(d.find(&c.Upstream), "remove it", "the tracks are no targets, so the upstream means nothing")
	}
	if base.Kind == can.Kind && base.Header == can.Header {
		for _, v := range can.Values {
			if base.Has(v) {
				d.errorf(at, "name what tells them apart", "canary and baseline are the same: both are %s", gatewarden.Selector{Kind: can.Kind, Header: can.Header, Values: []string{v}})
				return
			}
		}
	}
	c.checkReach(d, &c.Baseline, out.Tracks[gatewarden.TrackBaseline], &out.Series, false)
	c.checkReach(d, &c.Canary, out.Tracks[gatewarden.TrackCanary], &out.Series, true)
}

// checkReach reports a track that gets nothing, and a canary that leaves nothing to its
// baseline.
func (c *canarySpec) checkReach(d *document, spec *selectorSpec, s gatewarden.Selector, among *gatewarden.Series, canary bool) {
	at := d.find(spec)
	var name string
	switch s.Kind {
	case gatewarden.ByService:
		name = among.Service
	case gatewarden.ByRoute:
		name = among.Route
	case gatewarden.ByResponseHeader, gatewarden.ByRequestHeader:
		if !c.named() {
			d.errorf(at, `add service: NAME to the canary, or service: "*"`, "of which requests the header is looked at is not said")
		}
		return
	default:
		return
	}
	for _, v := range s.Values {
		switch {
		case name == "":
		case v != name:
			d.errorf(at, "remove "+string(s.Kind)+": "+name+" from the canary", "%s %s never gets a request here: only those of %s %s are compared", s.Kind, v, s.Kind, name)
			return
		case canary:
			d.errorf(at, "say what tells the canary's requests apart", "every request of %s %s is the canary's, so nothing is left for the baseline", s.Kind, name)
			return
		}
	}
}
