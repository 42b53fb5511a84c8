package rules

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

// Limits on an expression, each far beyond what anybody writes. The bytes matter most:
// the parser recurses, and 500,000 opening brackets overflowed its stack, which no
// program survives.
const (
	maxExprBytes = 4096
	maxExprNodes = 500
)

// errNotBool is what Holds reports when the expression gave nothing to judge by.
var errNotBool = errors.New("the expression was not true or false for this request")

// variable is a name that a `good:` expression can use.
type variable struct {
	name string
	like any // a value of its type
	of   func(*gatewarden.Record) any
}

// variables returns the names that expressions can use. A latency is in milliseconds.
// One that the request does not have is nil: comparing it (<, >) fails, and a request
// for which the expression fails is no event of the SLI, as it is for a latency SLI:
// a request that was never proxied says nothing about the upstream. What decides
// before that still counts, as `status < 500 &&` does for a 503; and
// `latency.upstream == nil` asks.
func variables() []variable {
	latency := func(p gatewarden.LatencyPart) func(*gatewarden.Record) any {
		return func(r *gatewarden.Record) any {
			d := p.Pick(r.Latency)
			if d < 0 {
				return nil
			}
			return float64(d) / float64(time.Millisecond)
		}
	}
	return []variable{
		{"status", 0, func(r *gatewarden.Record) any { return r.Status }},
		{"latency.request", 0.0, latency(gatewarden.OfRequest)},
		{"latency.upstream", 0.0, latency(gatewarden.OfUpstream)},
		{"latency.kong", 0.0, latency(gatewarden.OfKong)},
		{"method", "", func(r *gatewarden.Record) any { return r.Method }},
		{"path", "", func(r *gatewarden.Record) any { return r.Path }},
		{"service", "", func(r *gatewarden.Record) any { return r.Service }},
		{"route", "", func(r *gatewarden.Record) any { return r.Route }},
		{"consumer", "", func(r *gatewarden.Record) any { return r.Consumer }},
		{"workspace", "", func(r *gatewarden.Record) any { return r.Workspace }},
		{"source", "", func(r *gatewarden.Record) any { return r.Origin.String() }},
		{"last_try_status", 0, func(r *gatewarden.Record) any { return r.LastTry }},
		{"tries", 0, func(r *gatewarden.Record) any { return len(r.Tries) }},
		{"tags", []string(nil), func(r *gatewarden.Record) any { return r.Tags }},
	}
}

// compileGood compiles an expression into SLI.Holds. It returns nil when it reported
// a problem.
func compileGood(d *document, at *yaml.Node, text string) func(*gatewarden.Record) (bool, error) {
	if strings.TrimSpace(text) == "" {
		d.errorf(at, "write when a request is good: status < 500", "the expression is empty")
		return nil
	}
	if len(text) > maxExprBytes {
		d.errorf(at, "make several slos of it", "the expression is longer than %d characters", maxExprBytes)
		return nil
	}
	known := variables()
	env := map[string]any{}
	var names []string
	for _, v := range known {
		env[v.name] = v.like
		names = append(names, v.name)
	}
	flatten := &flattener{known: known}
	program, err := expr.Compile(text,
		expr.Env(env), expr.AsBool(), expr.Patch(flatten), expr.MaxNodes(maxExprNodes),
		expr.DisableBuiltin("now"), // judging the same log twice must give the same
	)
	if err != nil {
		d.exprError(at, text, err, names)
		return nil
	}
	if flatten.takesAll {
		d.errorf(at, "use the names themselves", "in the expression: $env is not supported")
		return nil
	}
	var used []variable
	for _, v := range known {
		if slices.Contains(flatten.used, v.name) {
			used = append(used, v)
		}
	}
	if len(used) == 0 {
		d.warnf(at, "compare something of the request: status < 500", "the expression says the same of every request")
	}
	return judge(program, used)
}

// flattener makes latency.request one variable of that name, which spares the lookup
// in an object, and notes which variables an expression uses, so that only those are
// filled in for a record.
type flattener struct {
	known    []variable
	used     []string
	takesAll bool // it takes the environment as a whole, so that nothing is known about what it uses
}

// Visit is called for every node of the syntax tree.
func (f *flattener) Visit(node *ast.Node) {
	var name string
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		name = n.Value
		f.takesAll = f.takesAll || name == "$env"
	case *ast.MemberNode:
		object, isName := n.Node.(*ast.IdentifierNode)
		property, isWord := n.Property.(*ast.StringNode)
		if !isName || !isWord {
			return
		}
		name = object.Value + "." + property.Value
	default:
		return
	}
	for _, v := range f.known {
		if v.name != name {
			continue
		}
		f.used = append(f.used, name)
		if _, isMember := (*node).(*ast.MemberNode); isMember {
			ast.Patch(node, &ast.IdentifierNode{Value: name})
		}
	}
}

// judge returns the function that runs program. It may be called concurrently.
func judge(program *vm.Program, used []variable) func(*gatewarden.Record) (bool, error) {
	type machine struct {
		vm  vm.VM
		env map[string]any
	}
	pool := sync.Pool{New: func() any { return &machine{env: make(map[string]any, len(used))} }}
	return func(r *gatewarden.Record) (bool, error) {
		m := pool.Get().(*machine)
		for i := range used {
			m.env[used[i].name] = used[i].of(r)
		}
		out, err := m.vm.Run(program, m.env)
		pool.Put(m)
		good, ok := out.(bool)
		if err == nil && !ok {
			err = errNotBool
		}
		return good, err
	}
}

var (
	unknownName = regexp.MustCompile(`unknown name (\w+)`)
	goNumber    = regexp.MustCompile(`\b(?:int|float64)\b`)
	goText      = regexp.MustCompile(`\bstring\b`)
	goBool      = regexp.MustCompile(`\bbool\b`)
)

// plainTypes replaces the names that Go has for types.
func plainTypes(message string) string {
	message = strings.TrimPrefix(message, "compilation failed: ")
	message = strings.ReplaceAll(message, "[]string", "list")
	message = goNumber.ReplaceAllString(message, "number")
	message = goText.ReplaceAllString(message, "text")
	return goBool.ReplaceAllString(message, "true or false")
}

// exprError reports an error of the expression at the character that it is about.
func (d *document) exprError(at *yaml.Node, text string, err error, names []string) {
	message, hint := err.Error(), ""
	where := *at
	if e, ok := errors.AsType[*file.Error](err); ok {
		message = e.Message
		where = *d.within(at, text, e)
	}
	if m := unknownName.FindStringSubmatch(message); m != nil {
		hint = didYouMean(m[1], names, "it takes what is known of a request")
		if m[1] == "latency" {
			hint = "write latency.request, latency.upstream or latency.kong"
		}
	}
	message = plainTypes(message)
	if strings.HasPrefix(message, "expected true or false") {
		hint = "compare something: status < 500"
	}
	d.errorf(&where, hint, "in the expression: %s", message)
}

// within returns the place of an expression's error in the file: the expression
// stands there as it is, behind a quote or indented in a block, unless it is folded.
func (d *document) within(at *yaml.Node, text string, e *file.Error) *yaml.Node {
	parts := strings.Split(text, "\n")
	line := at.Line + e.Line - 1
	if at.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		line++ // the text begins below the | or >
	}
	if e.Line < 1 || e.Line > len(parts) || line < 1 || line > len(d.lines) {
		return at
	}
	before, _, found := strings.Cut(d.lines[line-1], parts[e.Line-1])
	if !found || parts[e.Line-1] == "" {
		return at
	}
	return &yaml.Node{Line: line, Column: len([]rune(before)) + e.Column + 1}
}
