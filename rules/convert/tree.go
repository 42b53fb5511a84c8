package convert

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden/rules"
)

const (
	maxDocuments = 2000
	maxBytes     = 4 << 20
	maxNesting   = 64
)

// tree is a document of somebody else's format. It knows which of its keys were read, so
// that those that were not can be told: whatever is in the file is used, or said to be
// left out.
type tree struct {
	file     string
	root     *yaml.Node
	read     map[*yaml.Node]bool // keys, and scalars in lists
	problems rules.Problems
}

// value is a part of a tree; the zero value is one that is not there.
type value struct {
	tree *tree
	at   *yaml.Node // where to point: the key
	node *yaml.Node
}

// documents parses a file of YAML documents.
func documents(file string, text []byte) ([]*tree, rules.Problems) {
	fail := func(line int, format string, args ...any) rules.Problems {
		return rules.Problems{{File: file, Line: line, Severity: rules.SeverityError, Message: fmt.Sprintf(format, args...)}}
	}
	if len(text) > maxBytes {
		return nil, fail(0, "the file is larger than %d MiB", maxBytes>>20)
	}
	var list []*tree
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		switch {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return list, fail(0, "this is not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		case len(list) == maxDocuments:
			return list, fail(doc.Line, "there are more than %d documents in it", maxDocuments)
		case len(doc.Content) == 1 && doc.Content[0].Kind == yaml.MappingNode:
			list = append(list, &tree{file: file, root: doc.Content[0], read: map[*yaml.Node]bool{}})
		case len(doc.Content) == 1 && doc.Content[0].ShortTag() != "!!null":
			return list, fail(doc.Content[0].Line, "a document must be keys with values")
		}
	}
}

func (t *tree) top() value { return value{t, t.root, t.root} }

func (t *tree) add(severity rules.Severity, at *yaml.Node, hint, format string, args ...any) {
	p := rules.Problem{File: t.file, Severity: severity, Message: fmt.Sprintf(format, args...), Hint: hint}
	if at != nil {
		p.Line, p.Column = at.Line, at.Column
	}
	t.problems = append(t.problems, p)
}

// lost tells that a whole SLO is left out; given that something is read in another way.
func (v value) lost(hint, format string, args ...any) {
	v.tree.add(rules.SeverityError, v.at, hint, format, args...)
}

func (v value) given(hint, format string, args ...any) {
	v.tree.add(rules.SeverityWarning, v.at, hint, format, args...)
}

func (v value) there() bool { return v.node != nil }

// resolved follows an alias.
func resolved(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// get returns what is under a key; the first of several names of it that is there. What is
// merged in is looked at after what is there itself, and merges that go round end.
func (v value) get(keys ...string) value {
	n := resolved(v.node)
	for depth := 0; n != nil && n.Kind == yaml.MappingNode && depth < maxNesting; depth++ {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key := n.Content[i]; slices.Contains(keys, key.Value) {
				v.tree.read[key] = true
				return value{v.tree, key, n.Content[i+1]}
			}
		}
		n = v.tree.merged(n)
	}
	return value{tree: v.tree, at: v.at}
}

// merged returns the mapping that is merged into one, nil without any.
func (t *tree) merged(n *yaml.Node) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := n.Content[i]; key.ShortTag() == "!!merge" {
			t.read[key] = true
			if m := resolved(n.Content[i+1]); m.Kind == yaml.MappingNode {
				return m
			}
		}
	}
	return nil
}

// text returns a scalar's text, "" for what is none.
func (v value) text() string {
	n := resolved(v.node)
	if n == nil || n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		return ""
	}
	v.tree.read[n] = true
	return strings.TrimSpace(n.Value)
}

func (v value) is(word string) bool { return strings.EqualFold(v.text(), word) }

// each returns the items of a list.
func (v value) each() []value {
	n := resolved(v.node)
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	list := make([]value, len(n.Content))
	for i, item := range n.Content {
		list[i] = value{v.tree, item, item}
	}
	return list
}

// pairs returns the keys of a mapping with their values.
func (v value) pairs() (keys []string, values []value) {
	n := resolved(v.node)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		v.tree.read[n.Content[i]] = true
		keys = append(keys, n.Content[i].Value)
		values = append(values, value{v.tree, n.Content[i], n.Content[i+1]})
	}
	return keys, values
}

// taken says that a part has been dealt with as a whole.
func (v value) taken() {
	if v.node != nil {
		v.tree.read[v.node] = true
	}
}

// rest tells of everything that was not read, the uppermost key of each part.
func (t *tree) rest(hints map[string]string) { t.leftovers(t.root, "", hints, 0) }

func (t *tree) leftovers(n *yaml.Node, path string, hints map[string]string, depth int) {
	if depth > maxNesting || t.read[n] {
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, below := n.Content[i], strings.TrimPrefix(path+"."+n.Content[i].Value, ".")
			if !t.read[key] {
				t.add(rules.SeverityWarning, key, hints[key.Value], "%s is left out: the rules have nothing like it", below)
				continue
			}
			t.leftovers(n.Content[i+1], below, hints, depth+1)
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			t.leftovers(item, fmt.Sprintf("%s[%d]", path, i), hints, depth+1)
		}
	case yaml.ScalarNode:
		if strings.HasSuffix(path, "]") {
			t.add(rules.SeverityWarning, n, "", "%s is left out: the rules have nothing like it", path)
		}
	default: // an alias: what it stands for is told where it stands
	}
}
