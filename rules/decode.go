package rules

import (
	"cmp"
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

// The decoder reads a YAML tree into structs by their yaml tags. yaml.v3's own strict
// mode is not used: it knows lines but no columns, names Go types in its messages,
// and forgets to be strict below a type that decodes itself. This one says for every
// value where it stood (document.find), so that checks can point at it afterwards.

// shaped is a type that may be written in several shapes and decodes itself.
type shaped interface {
	decodeNode(d *document, n *yaml.Node, name string)
}

var (
	shapedType   = reflect.TypeFor[shaped]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	nodeType     = reflect.TypeFor[yaml.Node]()
	durationType = reflect.TypeFor[time.Duration]()
	secretType   = reflect.TypeFor[gatewarden.Secret]()
)

// decode reads n into what into points to. name is how messages call it.
func (d *document) decode(n *yaml.Node, into any, name string) {
	d.value(n, reflect.ValueOf(into).Elem(), name, 0)
}

// enter follows an alias and counts; false when a limit is reached.
func (d *document) enter(n *yaml.Node, depth int) (*yaml.Node, bool) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	d.values++
	switch {
	case d.values > maxValues:
		if !d.overfull {
			d.overfull = true
			d.reject(n, "aliases count each time they are used", "the file holds more than %d values", maxValues)
		}
		return n, false
	case depth > maxDepth:
		d.reject(n, "", "this is nested more than %d levels deep", maxDepth)
		return n, false
	default:
		return n, true
	}
}

func (d *document) value(n *yaml.Node, v reflect.Value, name string, depth int) {
	at := n // an alias is where the reader looks, not what it stands for
	n, ok := d.enter(n, depth)
	if !ok {
		if v.Kind() == reflect.Pointer && v.IsNil() {
			v.Set(reflect.New(v.Type().Elem())) // a list of pointers holds no nil
		}
		return
	}
	d.places[v.Addr().Interface()] = at
	switch {
	case v.Type() == nodeType:
		v.Set(reflect.ValueOf(*n))
	case v.Kind() == reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		if !v.IsNil() {
			p.Elem().Set(v.Elem()) // the default
		}
		d.value(n, p.Elem(), name, depth)
		d.places[p.Interface()] = at
		v.Set(p)
	case v.Addr().Type().Implements(shapedType):
		v.Addr().Interface().(shaped).decodeNode(d, n, name)
	case v.Type() == durationType || v.Addr().Type().Implements(textType):
		d.scalar(n, v, name)
	default:
		d.kind(n, v, name, depth)
	}
}

func (d *document) kind(n *yaml.Node, v reflect.Value, name string, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, name, depth)
	case reflect.Map:
		d.mapping(n, v, name, depth)
	case reflect.Slice:
		d.list(n, v, name, depth)
	case reflect.Interface:
		if x, ok := d.any(n, name, depth); ok && x != nil {
			v.Set(reflect.ValueOf(x))
		}
	default:
		d.scalar(n, v, name)
	}
}

func (d *document) list(n *yaml.Node, v reflect.Value, name string, depth int) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.reject(n, "write each item on a line of its own after a dash, or all in [ ]", "%s must be a list, this is %s", name, describe(n))
		return
	}
	// Made whole before the items are read: their places are kept by address.
	items := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		d.value(item, items.Index(i), itemOf(name), depth+1)
	}
	v.Set(items)
}

// itemOf says what an item of a list is called.
func itemOf(list string) string {
	switch list {
	case "slos":
		return "an slo"
	case "actions":
		return "an action"
	case "canaries":
		return "a canary"
	case "steps", "pairs", "sources", "checks":
		return "a " + strings.TrimSuffix(list, "s")
	default:
		return "an item of " + list
	}
}

func (d *document) mapping(n *yaml.Node, v reflect.Value, name string, depth int) {
	entries, ok := d.entries(n, name, depth)
	if !ok {
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), len(entries))
	for _, e := range entries {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(e.value, item, e.key.Value, depth+1)
		d.places[placeInMap{v.Addr().Interface(), e.key.Value}] = e.key
		m.SetMapIndex(reflect.ValueOf(e.key.Value), item)
	}
	v.Set(m)
}

// placeInMap is what find takes for the key of a map, whose values have no address.
type placeInMap struct {
	m   any // pointer to the map
	key string
}

func (d *document) structure(n *yaml.Node, v reflect.Value, name string, depth int) {
	fields := d.fieldsOf(v.Type())
	if !isNull(n) && n.Kind != yaml.MappingNode {
		hint := knownKeys(sortedKeys(fields))
		if len(fields) > 0 {
			hint = "write them on lines of their own below it, or all in { }; " + hint
		}
		d.rejectMapping(n, name, hint)
		return
	}
	entries, _ := d.entries(n, name, depth)
	outer := d.around
	defer func() { d.around = outer }()
	for _, e := range entries {
		d.around = fields // of what is within
		if index, ok := fields[e.key.Value]; ok {
			d.value(e.value, v.FieldByIndex(index), e.key.Value, depth+1)
		} else {
			d.around = outer
			d.unknownKey(e, v, name)
		}
	}
}

// rejectMapping reports that n stands where keys with values are wanted.
func (d *document) rejectMapping(n *yaml.Node, name, hint string) {
	d.reject(n, hint, "%s must be keys with values, this is %s", name, describe(n))
}

// knownKeys says which keys there are.
func knownKeys(known []string) string {
	if len(known) == 0 {
		return "it takes none: write {}"
	}
	return "known here: " + strings.Join(known, ", ")
}

// fieldsOf returns where the fields of a struct are, by their keys in YAML.
func (d *document) fieldsOf(t reflect.Type) map[string][]int {
	if fields, ok := d.fields[t]; ok {
		return fields
	}
	fields := map[string][]int{}
	for f := range t.Fields() {
		if !f.IsExported() {
			continue
		}
		key, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case key == "-":
		case f.Type.Kind() == reflect.Struct && (options == "inline" || f.Anonymous && key == ""):
			for k, inner := range d.fieldsOf(f.Type) {
				fields[k] = slices.Concat(f.Index, inner)
			}
		default:
			fields[cmp.Or(key, strings.ToLower(f.Name))] = f.Index
		}
	}
	d.fields[t] = fields
	return fields
}

// unknownKey reports a key that v has no field for.
func (d *document) unknownKey(e entry, v reflect.Value, name string) {
	if len(d.problems) >= maxProblems {
		d.drop(SeverityError)
		return
	}
	fields := d.fieldsOf(v.Type())
	known := sortedKeys(fields)
	guess, hint := nearest(e.key.Value, known), knownKeys(known)
	if _, ok := d.around[e.key.Value]; ok && guess == "" && !strings.Contains(name, " ") {
		hint += fmt.Sprintf("; %s is a key beside %s", e.key.Value, name)
	}
	if guess != "" {
		hint = fmt.Sprintf("did you mean %q?", guess)
		if v.FieldByIndex(fields[guess]).Type() == secretType {
			d.hidden = append(d.hidden, e.value)
			d.hide(e.value.Value, gatewarden.Redacted)
		}
	}
	d.reject(e.key, hint, "unknown key %q in %s", e.key.Value, name)
	if guess != "" {
		d.places[v.FieldByIndex(fields[guess]).Addr().Interface()] = e.key // so that it is not missed as well
	}
}

// entry is one key of a mapping with its value.
type entry struct{ key, value *yaml.Node }

// entries returns the keys of a mapping, those merged in with << last, and reports
// duplicate keys. An absent value is an empty mapping.
func (d *document) entries(n *yaml.Node, name string, depth int) ([]entry, bool) {
	if isNull(n) {
		return nil, true
	}
	if n.Kind != yaml.MappingNode {
		d.rejectMapping(n, name, "")
		return nil, false
	}
	var own, merged []entry
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case key.ShortTag() == "!!merge":
			merged = append(merged, d.merge(value, depth)...)
		case key.Kind != yaml.ScalarNode || isNull(key):
			d.errorf(n.Content[i], "", "a key must be a word, this is %s", describe(key))
		case seen[key.Value] != nil:
			d.errorf(n.Content[i], fmt.Sprintf("it stands in line %d already; keep one of them", seen[key.Value].Line), "the key %q is there twice", key.Value)
		default:
			seen[key.Value] = key
			own = append(own, entry{key, value})
		}
	}
	for _, e := range merged {
		if seen[e.key.Value] == nil {
			seen[e.key.Value] = e.key
			own = append(own, e)
		}
	}
	return own, true
}

func (d *document) merge(n *yaml.Node, depth int) []entry {
	n, ok := d.enter(n, depth)
	if !ok {
		return nil
	}
	if n.Kind == yaml.SequenceNode {
		var all []entry
		for _, item := range n.Content {
			all = append(all, d.merge(item, depth+1)...)
		}
		return all
	}
	entries, _ := d.entries(n, "what << merges", depth+1)
	d.values += len(entries)
	return entries
}

// any reads a value of a shape that only somebody else knows, such as the
// configuration of a plugin, into what JSON can carry.
func (d *document) any(n *yaml.Node, name string, depth int) (any, bool) {
	n, ok := d.enter(n, depth)
	if !ok {
		return nil, false
	}
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		entries, _ := d.entries(n, name, depth)
		for _, e := range entries {
			x, ok := d.any(e.value, e.key.Value, depth+1)
			if !ok {
				return nil, false
			}
			m[e.key.Value] = x
		}
		return m, true
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			x, ok := d.any(item, "an item of "+name, depth+1)
			if !ok {
				return nil, false
			}
			list[i] = x
		}
		return list, true
	default:
		return d.anyScalar(n, name)
	}
}

func (d *document) anyScalar(n *yaml.Node, name string) (any, bool) {
	n = d.expand(n)
	switch n.ShortTag() {
	case "!!null":
		return nil, true
	case "!!bool":
		return strings.EqualFold(n.Value, "true"), true
	case "!!int":
		if i, err := strconv.ParseInt(strings.ReplaceAll(n.Value, "_", ""), 0, 0); err == nil {
			return int(i), true
		}
		fallthrough
	case "!!float":
		f, err := strconv.ParseFloat(strings.ReplaceAll(n.Value, "_", ""), 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			d.reject(n, "", "%s: %q is no number that JSON can carry", name, n.Value)
			return nil, false
		}
		return f, true
	case "!!str", "!!timestamp":
		return n.Value, true
	default:
		d.reject(n, "remove the tag", "%s: the YAML tag %s is not supported", name, n.Tag)
		return nil, false
	}
}

// describe says what n is in words.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	default:
		return describeScalar(n)
	}
}

func describeScalar(n *yaml.Node) string {
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	default:
		return "text"
	}
}
