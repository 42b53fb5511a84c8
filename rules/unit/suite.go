package unit

import (
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/rules"
)

// Suite is a file of tests.
type Suite struct {
	File  string
	Rules []string // files and folders, ready to open
	Tests []Test
}

// Test is one: what happens, and what is to come of it.
type Test struct {
	Name    string
	Line    int // in the file
	Start   time.Time
	Length  time.Duration // until the last instant that is looked at
	Traffic []Traffic
	Runs    []Run
	Targets []Target
	Expect  []Expectation
}

// Traffic are requests that are alike but for their instants.
type Traffic struct {
	Rate   Rate
	SLO    string // an SLO whose events these are, instead of a service; its series is filled in
	Record gatewarden.Record
}

// Run is a run of a canary that is begun.
type Run struct {
	Canary string
	At     time.Duration
}

// Target is one of an upstream's, as Kong lists them.
type Target struct {
	Target string   `yaml:"target" json:"target"`
	Weight int      `yaml:"weight" json:"weight"`
	Tags   []string `yaml:"tags" json:"tags"`
}

// Expectation is what holds at an instant. What it does not name it says nothing about.
type Expectation struct {
	At   time.Duration
	Line int
	// SLOs are the words of their states: healthy, inconclusive, or the severities that
	// fire, in any order.
	SLOs map[string][]string
	// Actions are the kinds of the steps that would have been taken in the answer that is
	// under way, in order; none when there is no answer.
	Actions map[string][]string
	// Runs are the states of the runs of canaries.
	Runs map[string]string
}

// defaultStart is when a test begins that does not say: a Monday, in a month and a quarter
// that are young.
func defaultStart() time.Time { return time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC) }

type suiteSpec struct {
	Rules []string    `yaml:"rules"`
	Tests []*testSpec `yaml:"tests"`
}

type testSpec struct {
	Name    string         `yaml:"name"`
	Start   time.Time      `yaml:"start"`
	Traffic []*trafficSpec `yaml:"traffic"`
	Targets []Target       `yaml:"targets"`
	Runs    []*runSpec     `yaml:"runs"`
	Expect  []*expectSpec  `yaml:"expect"`
}

type trafficSpec struct {
	SLO             string            `yaml:"slo"`
	Service         string            `yaml:"service"`
	Route           string            `yaml:"route"`
	Consumer        string            `yaml:"consumer"`
	Workspace       string            `yaml:"workspace"`
	Tags            rules.Words       `yaml:"tags"`
	Status          int               `yaml:"status"`
	Latency         time.Duration     `yaml:"latency"`
	Source          string            `yaml:"source"`
	Method          string            `yaml:"method"`
	Path            string            `yaml:"path"`
	Target          string            `yaml:"target"`
	RequestHeaders  map[string]string `yaml:"request_headers"`
	ResponseHeaders map[string]string `yaml:"response_headers"`
	RPS             Rate              `yaml:"rps"`
}

type runSpec struct {
	Canary string        `yaml:"canary"`
	At     time.Duration `yaml:"at"`
}

type expectSpec struct {
	At      time.Duration          `yaml:"at"`
	SLOs    map[string]rules.Words `yaml:"slos"`
	Actions map[string]rules.Words `yaml:"actions"`
	Runs    map[string]string      `yaml:"runs"`
}

// Load reads a file of tests with the rules that it names, and finds everything that is
// wrong with either. The Suite and the Rules are what could be understood, never nil.
func Load(path string) (*Suite, *rules.Rules, rules.Problems) {
	f := rules.OpenFile(path)
	spec := &suiteSpec{}
	f.Decode(spec, "a file of tests")
	s := &Suite{File: path}
	if f.Empty() {
		problems := f.Problems()
		if len(problems) == 0 {
			f.Errorf(nil, "write rules: [rules/] and tests:", "the file is empty")
			problems = f.Problems()
		}
		return s, &rules.Rules{}, problems
	}
	if len(spec.Rules) == 0 {
		f.Errorf([]any{&spec.Rules}, "add rules: [rules/], from the folder of this file", "the tests do not say of which rules they are")
	}
	for _, r := range spec.Rules {
		s.Rules = append(s.Rules, f.Path(r))
	}
	set, problems := rules.LoadRules(s.Rules)
	b := builder{file: f, names: namesOf(set)}
	if len(spec.Tests) == 0 {
		f.Errorf([]any{&spec.Tests}, "add tests: [{name: ..., traffic: [...], expect: [...]}]", "there is no test")
	}
	for _, t := range spec.Tests {
		s.Tests = append(s.Tests, b.test(t))
	}
	return s, set, rules.Join(f.Problems(), problems)
}
