package promquery

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// meaning is what the numbers of an expression are.
type meaning uint8

const (
	counter   meaning = iota // a counter as of an instant: what it grew by is counted
	perSecond                // events a second, over the window: rate(x[{{.window}}])
	inWindow                 // events in the window: increase(x[{{.window}}])
)

// expression is one side of an SLI's query.
type expression struct {
	key  string // of the rules file, for problems: "total_query"
	text string
	is   meaning
}

// totalKey is the key of what all events are.
const totalKey = "total_query"

// query is an SLI's query, ready to ask.
type query struct {
	total expression
	other expression
	good  bool // other says what is good; else what is bad
}

// Check reports whether the events of q can be counted. The error, of code invalid, says
// which side of the query is wrong and what to write. The numbers of a side are
//
//   - with {{.window}}, which the guard replaces as Sloth does: events a second where it
//     is the range of rate(), events of the window where it is that of increase(),
//     count_over_time() or sum_over_time()
//   - without it, and without any other range: a counter, which is compared with itself a
//     step ago. A fall is a restart: of a bare counter what it shows then is new, of a sum
//     or anything else that is computed nothing can be said about that step.
//
// Ranges of a fixed length are refused: what is counted by them each step would be
// counted again in the next.
func Check(q *gatewarden.Query) error {
	_, err := parse(q)
	return err
}

func parse(q *gatewarden.Query) (query, error) {
	parsed := query{good: q.Good != "", total: expression{key: totalKey, text: q.Total}, other: expression{key: "error_query", text: q.Error}}
	if parsed.good {
		parsed.other = expression{key: "good_query", text: q.Good}
	}
	for _, e := range []*expression{&parsed.total, &parsed.other} {
		is, wrong := meaningOf(e.text)
		if wrong != nil {
			wrong.Message = e.key + ": " + wrong.Message
			return query{}, wrong
		}
		e.is = is
	}
	return parsed, nil
}

var (
	placeholder = regexp.MustCompile(`\{\{\s*\.window\s*\}\}`)
	leftOver    = regexp.MustCompile(`\{\{|\}\}`)
	// insignificant is what looks like anything and means nothing here: strings, comments.
	insignificant = regexp.MustCompile("\"(?:[^\"\\\\\n]|\\\\.)*\"|'(?:[^'\\\\\n]|\\\\.)*'|`[^`]*`|#[^\n]*")
	// averaged are recording rules that are named as rates and ratios are.
	averaged = regexp.MustCompile(`:[a-zA-Z0-9_]*(rate|ratio|increase|avg|mean)[a-zA-Z0-9_]*\b`)
	word     = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*`)
)

// window stands for {{.window}} in what is looked at. No expression has such a character.
const window = "\x00"

func meaningOf(text string) (meaning, *gatewarden.Error) {
	if text == "" {
		return 0, gatewarden.Errorf(gatewarden.Invalid, "it is empty")
	}
	if strings.Contains(text, window) {
		return 0, gatewarden.Errorf(gatewarden.Invalid, "there is a zero byte in it")
	}
	bare := insignificant.ReplaceAllString(placeholder.ReplaceAllString(text, window), `""`)
	if leftOver.MatchString(bare) {
		return 0, gatewarden.Errorf(gatewarden.Invalid, "only {{.window}} is replaced, and there is another template in it")
	}
	if !strings.Contains(bare, window) {
		return counterOf(bare)
	}
	return windowed(bare)
}

// counterOf says whether an expression without {{.window}} can be a counter.
func counterOf(bare string) (meaning, *gatewarden.Error) {
	if strings.Contains(bare, "[") {
		return 0, gatewarden.Errorf(gatewarden.Invalid, "its range has a fixed length, so that events would count in every step that it reaches").
			WithHint("write [{{.window}}], as in sum(rate(http_requests_total[{{.window}}]))")
	}
	if name := averaged.FindString(bare); name != "" {
		return 0, gatewarden.Errorf(gatewarden.Invalid, "%q is named as a rate or a ratio, and without {{.window}} a counter is needed", strings.TrimPrefix(name, ":")).
			WithHint("ask for the counter that it is made of: sum(rate(http_requests_total[{{.window}}]))")
	}
	return counter, nil
}

// windowed says what is done to the ranges of {{.window}}.
func windowed(bare string) (meaning, *gatewarden.Error) {
	var found meaning
	for _, f := range rangeFunctions(bare) {
		var is meaning
		switch f {
		case "rate":
			is = perSecond
		case "increase", "increase_pure", "count_over_time", "sum_over_time":
			is = inWindow
		default:
			return 0, gatewarden.Errorf(gatewarden.Invalid, "{{.window}} must be the range of rate() or increase(), and here %q has it", f).
				WithHint("write sum(rate(http_requests_total[{{.window}}])); increase(), count_over_time() and sum_over_time() count, too")
		}
		if found != counter && is != found {
			return 0, gatewarden.Errorf(gatewarden.Invalid, "it has events a second (rate) and events of a window (increase) in one expression").WithHint("use one of them")
		}
		found = is
	}
	return found, nil
}

// rangeFunctions returns the names of the functions that {{.window}} is a range for, and
// "nothing" where there is none.
func rangeFunctions(bare string) (names []string) {
	var open []string // the functions whose parentheses are open; "" for bare ones
	last := ""        // the word before, unless something else came in between
	for i := 0; i < len(bare); i++ {
		switch c := bare[i]; {
		case c == '(':
			open, last = append(open, last), ""
		case c == ')':
			open, last = open[:max(len(open)-1, 0)], ""
		case strings.HasPrefix(bare[i:], window):
			names = append(names, innermost(open))
		case c == ' ' || c == '\t' || c == '\n':
		default:
			if last = word.FindString(bare[i:]); last != "" {
				i += len(last) - 1
			}
		}
	}
	return names
}

func innermost(open []string) string {
	for _, name := range slices.Backward(open) {
		if name != "" {
			return name
		}
	}
	return "nothing"
}

// over returns the expression with a window for {{.window}}.
func (e *expression) over(window time.Duration) string {
	return placeholder.ReplaceAllLiteralString(e.text, gatewarden.Duration(window).String())
}

// events returns how many events a value stands for in a step.
func (e *expression) events(value float64, step, window time.Duration) float64 {
	if e.is == inWindow {
		return value * (float64(step) / float64(window))
	}
	return value * step.Seconds()
}
