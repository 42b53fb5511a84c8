package rules

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

// Source is one entry of the list of sources: a kind, and settings that only the
// collector of that kind understands.
type Source struct {
	Kind string
	File string // where it stands; "" and 0 for one that no file names
	Line int

	doc      *document
	at       *yaml.Node // the kind
	settings *yaml.Node // nil for none
}

// SourceNames returns what sources are called: by their kind, the second of a kind with
// -2 behind it and so on.
func SourceNames(sources []Source) []string {
	names, count := make([]string, len(sources)), map[string]int{}
	for i, s := range sources {
		names[i] = s.Kind
		if count[s.Kind]++; count[s.Kind] > 1 {
			names[i] = fmt.Sprintf("%s-%d", s.Kind, count[s.Kind])
		}
	}
	return names
}

// decodeNode reads `- kind: {settings}`.
func (s *Source) decodeNode(d *document, n *yaml.Node, _ string) {
	const hint = "write - httplog: {path: /ingest/kong}"
	if n.Kind != yaml.MappingNode {
		d.reject(n, hint, "a source must be its kind with its settings, this is %s", describe(n))
		return
	}
	entries, _ := d.entries(n, "a source", 0)
	if len(entries) != 1 {
		d.reject(n, "put a dash before each kind; indent its settings below it", "a source has one kind, here are %d keys", len(entries))
		return
	}
	s.Kind, s.at, s.settings = entries[0].key.Value, entries[0].key, entries[0].value
	s.File, s.Line, s.doc = d.name, s.at.Line, d
}

// Decode reads the settings into what into points to, a struct with yaml tags,
// strictly and over what is already in it: an absent key keeps its default. ${NAME}
// is expanded; fields may be strings, numbers, bools, time.Duration,
// gatewarden.Secret, anything that reads text, and lists, maps and structs of those.
// The error lists every problem with its place (*LoadError).
func (s Source) Decode(into any) error {
	if s.settings == nil {
		return nil
	}
	if v := reflect.ValueOf(into); v.Kind() != reflect.Pointer || v.IsNil() {
		return gatewarden.Errorf(gatewarden.Internal, "the settings of %s can't be decoded into a %T", s.Kind, into)
	}
	d := s.doc.fork()
	d.decode(s.settings, into, s.Kind)
	return d.finish().Err()
}

// fork returns a document of the same text with no problems yet.
func (d *document) fork() *document {
	f := *d
	f.places, f.failed = map[any]*yaml.Node{}, map[*yaml.Node]bool{}
	f.fields = map[reflect.Type]map[string][]int{}
	f.problems, f.values, f.dropped, f.overfull = nil, 0, 0, false
	f.secrets, f.hidden = maps.Clone(d.secrets), slices.Clone(d.hidden)
	return &f
}

// Text returns the settings as YAML, for telling whether they have changed: what their
// aliases stand for is among it.
func (s Source) Text() string {
	if s.settings == nil {
		return ""
	}
	parts := []*yaml.Node{s.settings}
	var text strings.Builder
	for i := 0; i < len(parts); i++ {
		part, err := yaml.Marshal(parts[i])
		if err != nil {
			return ""
		}
		text.Write(part)
		parts = aliased(parts[i], parts)
	}
	return text.String()
}

// aliased adds what the aliases in n stand for to a list that does not have it yet.
func aliased(n *yaml.Node, list []*yaml.Node) []*yaml.Node {
	if n.Kind == yaml.AliasNode && !slices.Contains(list, n.Alias) {
		list = append(list, n.Alias)
	}
	for _, c := range n.Content {
		list = aliased(c, list)
	}
	return list
}
