package fakejenkins

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// object and list are what Jenkins' exporter writes.
type (
	object = map[string]any
	list   = []any
)

// export answers with v as JSON, cut down to the request's tree parameter, or to
// shallow when it has none; an empty shallow is all of v.
func export(w http.ResponseWriter, r *http.Request, v any, shallow string) {
	text := r.URL.Query().Get("tree")
	if text == "" {
		text = shallow
	}
	if text != "" {
		t, ok := parseTree(text)
		if !ok {
			page(w, http.StatusInternalServerError, "java.lang.IllegalArgumentException: malformed tree: "+text)
			return
		}
		v = t.cut(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		page(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	_, _ = w.Write(b)
}

// tree is a parsed tree parameter: the names wanted of an object, each with the
// tree of its own value, and the range wanted of a list.
type tree struct {
	names    map[string]*tree
	all      bool // "*"
	from, to int  // of a list; to < 0 is its end
}

// parseTree reads "a,b[c,d],e[f]{0,100}". Ranges are {from,to} with to left out
// of the range, {from,}, {,to} and {index}.
func parseTree(text string) (*tree, bool) {
	p := &treeParser{rest: text}
	t, ok := p.names(0)
	return t, ok && p.rest == ""
}

type treeParser struct{ rest string }

const maxTreeDepth = 32

func (p *treeParser) names(depth int) (*tree, bool) {
	t := &tree{names: map[string]*tree{}, to: -1}
	for {
		end := strings.IndexAny(p.rest+",", ",[]{}")
		name := strings.TrimSpace(p.rest[:end])
		if name == "" || depth > maxTreeDepth {
			return nil, false
		}
		p.rest = p.rest[end:]
		child := &tree{names: map[string]*tree{}, to: -1}
		if strings.HasPrefix(p.rest, "[") {
			p.rest = p.rest[1:]
			var ok bool
			if child, ok = p.names(depth + 1); !ok || !p.eat("]") {
				return nil, false
			}
		}
		if strings.HasPrefix(p.rest, "{") && !p.bounds(child) {
			return nil, false
		}
		t.names[name] = child
		t.all = t.all || name == "*"
		if !p.eat(",") {
			return t, true
		}
	}
}

func (p *treeParser) eat(s string) bool {
	rest, ok := strings.CutPrefix(p.rest, s)
	p.rest = rest
	return ok
}

func (p *treeParser) bounds(t *tree) bool {
	inner, rest, ok := strings.Cut(p.rest[1:], "}")
	if !ok {
		return false
	}
	p.rest = rest
	from, to, isRange := strings.Cut(inner, ",")
	var err error
	if from != "" {
		if t.from, err = strconv.Atoi(from); err != nil || t.from < 0 {
			return false
		}
	}
	switch {
	case !isRange:
		t.to = t.from + 1
		return from != ""
	case to != "":
		t.to, err = strconv.Atoi(to)
		return err == nil && t.to >= 0
	}
	return true
}

// cut returns what of v the tree names. An object keeps its _class; one of which
// nothing is named stays as {} or with its _class alone, as in Jenkins.
func (t *tree) cut(v any) any {
	switch v := v.(type) {
	case object:
		out := object{}
		for name, value := range v {
			child, wanted := t.names[name]
			switch {
			case wanted:
				out[name] = child.cut(value)
			case t.all:
				out[name] = t.names["*"].cut(value)
			case name == "_class":
				out[name] = value
			}
		}
		return out
	case list:
		to := len(v)
		if t.to >= 0 {
			to = min(to, t.to)
		}
		out := list{}
		for i := min(t.from, to); i < to; i++ {
			out = append(out, t.cut(v[i]))
		}
		return out
	default:
		return v
	}
}
