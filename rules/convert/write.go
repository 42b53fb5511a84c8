package convert

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden/rules"
)

// ruleFile is a rules file as it is written.
type ruleFile struct {
	SLOs []*slo `yaml:"slos"`
}

// slo is one as it is written.
type slo struct {
	Name        string            `yaml:"name"`
	Description string            `yaml:"description,omitempty"`
	Service     string            `yaml:"service"`
	Objective   percent           `yaml:"objective"`
	Window      string            `yaml:"window,omitempty"`
	Calendar    string            `yaml:"calendar,omitempty"`
	Budgeting   *budgeting        `yaml:"budgeting,omitempty"`
	SLI         sli               `yaml:"sli"`
	Alerting    any               `yaml:"alerting,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
}

type budgeting struct {
	Timeslices struct {
		Slice     string  `yaml:"slice"`
		Objective percent `yaml:"objective"`
	} `yaml:"timeslices"`
}

type sli struct {
	Prometheus struct {
		Total string `yaml:"total_query"`
		Error string `yaml:"error_query,omitempty"`
		Good  string `yaml:"good_query,omitempty"`
	} `yaml:"prometheus"`
}

// pairs are an alerting of its own.
type pairs struct {
	Pairs []pair `yaml:"pairs"`
}

type pair struct {
	Severity string  `yaml:"severity"`
	Factor   float64 `yaml:"factor"`
	Long     string  `yaml:"long"`
	Short    string  `yaml:"short"`
}

// percent is a number in per cent, written without what floating point adds.
type percent float64

// MarshalYAML writes 99.9, and not 99.90000000000001.
func (p percent) MarshalYAML() (any, error) {
	text, tag := strconv.FormatFloat(float64(p), 'f', -1, 64), "!!float"
	if rounded := strconv.FormatFloat(float64(p), 'g', 12, 64); len(rounded) < len(text) {
		text = rounded
	}
	if !strings.ContainsAny(text, ".e") {
		tag = "!!int"
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}, nil
}

// number reads a number, in per cent or as a ratio.
func number(text string, ratio bool) (percent, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if ratio {
		f *= 100
	}
	return percent(f), err == nil && f > 0 && f < 100
}

var unfit = regexp.MustCompile(`[^a-z0-9]+`)

// nameOf makes a name that rules take; longest is how long those may be.
func nameOf(text string) string {
	const longest = 63
	name := strings.Trim(unfit.ReplaceAllString(strings.ToLower(text), "-"), "-")
	return strings.Trim(name[:min(len(name), longest)], "-")
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// label adds a label, if it can be one.
func (s *slo) label(name, text string, v value) {
	if !labelName.MatchString(name) || text == "" {
		v.given("", "the label %s is left out: a label has letters, digits and _, and a text", name)
		return
	}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	s.Labels[name] = text
}

// fixed is a range of a fixed length.
var fixed = regexp.MustCompile(`\[\s*[0-9][0-9a-z]*\s*\]`)

// query is a query as a PromQL SLI takes it: a range is {{.window}}.
func query(v value) string {
	text := v.text()
	if fixed.MatchString(text) && !placeholder.MatchString(text) {
		v.given("", "a range of a fixed length is taken as %s: each event is counted once", windowMark)
		text = fixed.ReplaceAllLiteralString(text, "["+windowMark+"]")
	}
	if rated, ok := ratedCounter(text); ok {
		v.given("", "the counter is asked for as %s, one number for all its series", rated)
		return rated
	}
	return text
}

// render writes the rules and reads them back: what the loader has against them are
// problems too.
func render(list []*slo, from string) ([]byte, rules.Problems) {
	seen := map[string]int{}
	for _, s := range list {
		if seen[s.Name]++; seen[s.Name] > 1 {
			s.Name = fmt.Sprintf("%s-%d", s.Name[:min(len(s.Name), 60)], seen[s.Name])
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Made of %s by gatewarden rules import. They need a source that answers PromQL:\n#   sources: [{prometheus: {url: \"http://prometheus:9090\"}}]\n", from)
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(ruleFile{list}); err != nil {
		return nil, rules.Problems{{File: from, Severity: rules.SeverityError, Message: err.Error()}}
	}
	if len(list) == 0 {
		return b.Bytes(), nil
	}
	_, problems := rules.ParseRules("(the rules that came of it)", b.Bytes())
	return b.Bytes(), problems
}
