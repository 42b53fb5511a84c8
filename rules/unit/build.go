package unit

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/rules"
)

// names are what rules have, for what tests name.
type names struct {
	slos     map[string]*gatewarden.SLO
	actions  map[string]bool
	canaries map[string]bool
}

func namesOf(set *rules.Rules) names {
	n := names{slos: map[string]*gatewarden.SLO{}, actions: map[string]bool{}, canaries: map[string]bool{}}
	for i := range set.SLOs {
		n.slos[set.SLOs[i].Name] = &set.SLOs[i]
	}
	for i := range set.Policies {
		n.actions[set.Policies[i].Name] = true
	}
	for i := range set.Canaries {
		n.canaries[set.Canaries[i].Name] = true
	}
	return n
}

// builder makes tests of what is written, and reports what is wrong.
type builder struct {
	file  *rules.File
	names names
	taken map[string]bool
}

func (b *builder) test(s *testSpec) Test {
	t := Test{Name: s.Name, Line: b.file.Line(s), Start: s.Start, Targets: s.Targets}
	if b.taken == nil {
		b.taken = map[string]bool{}
	}
	switch {
	case strings.TrimSpace(s.Name) == "":
		b.file.Errorf([]any{&s.Name, s}, "add name: what is tested, in a few words", "the test has no name")
	case b.taken[s.Name]:
		b.file.Errorf([]any{&s.Name}, "choose another name for one of them", "there is a test %q already", s.Name)
	}
	b.taken[s.Name] = true
	if t.Start.IsZero() {
		t.Start = defaultStart()
	}
	t.Start = t.Start.Truncate(time.Second)
	if len(s.Traffic) == 0 {
		b.file.Errorf([]any{&s.Traffic, s}, `add traffic: [{service: orders, rps: "100x10m"}]`, "the test has no traffic")
	}
	for _, tr := range s.Traffic {
		t.Traffic = append(t.Traffic, b.traffic(tr))
		t.Length = max(t.Length, tr.RPS.Length())
	}
	for _, r := range s.Runs {
		b.known("canary", r.Canary, b.names.canaries, &r.Canary, r)
		t.Runs = append(t.Runs, Run{r.Canary, r.At})
	}
	if len(s.Expect) == 0 {
		b.file.Errorf([]any{&s.Expect, s}, "add expect: [{at: 5m, slos: {NAME: healthy}}]", "the test expects nothing, so it can't fail")
	}
	for _, e := range s.Expect {
		t.Expect = append(t.Expect, b.expectation(e, s))
		t.Length = max(t.Length, e.At)
	}
	slices.SortStableFunc(t.Expect, func(a, c Expectation) int { return int(a.At/time.Second) - int(c.At/time.Second) })
	return t
}

// known reports a name that the rules do not have.
func (b *builder) known(kind, name string, there map[string]bool, at ...any) {
	if name != "" && there[name] {
		return
	}
	b.file.Errorf(at, rules.DidYouMean(name, slices.Sorted(maps.Keys(there)), "define it in the rules"), "there is no %s %q in the rules", kind, name)
}

// defaultLatency is that of a request that does not say how long it took.
const defaultLatency = 20 * time.Millisecond

// traffic makes the record that all of its requests are.
func (b *builder) traffic(s *trafficSpec) Traffic {
	f := b.file
	r := gatewarden.Record{
		Service: s.Service, Route: s.Route, Consumer: s.Consumer, Workspace: s.Workspace, Tags: s.Tags,
		Status: s.Status, Origin: gatewarden.OriginUpstream, Method: s.Method, Path: s.Path, LastTry: s.Status,
	}
	if !f.Has(&s.RPS) {
		f.Errorf([]any{s}, `add rps: "100x10m", requests a second and for how long`, "the traffic does not say how much of it there is")
	}
	if !f.Has(&s.Status) {
		r.Status, r.LastTry = 200, 200
	} else if s.Status < 100 || s.Status > 599 {
		f.Errorf([]any{&s.Status}, "write status: 503", "%d is no status of HTTP", s.Status)
	}
	latency := defaultLatency
	if f.Has(&s.Latency) {
		latency = s.Latency
		if latency < 0 || latency > time.Hour {
			f.Errorf([]any{&s.Latency}, "write latency: 300ms", "a request can't take %s", gatewarden.Duration(latency))
		}
	}
	r.Latency = gatewarden.Latency{Request: latency, Upstream: latency}
	switch s.Source {
	case "", "upstream":
	case "kong":
		r.Origin, r.LastTry, r.Latency = gatewarden.OriginKong, 0, gatewarden.Latency{Request: latency, Upstream: gatewarden.NoLatency, Kong: latency}
	default:
		f.Errorf([]any{&s.Source}, "it is upstream, which is the default, or kong for a response of a plugin", "source can't be %q", s.Source)
	}
	if s.Target != "" {
		r.Tries = []gatewarden.Try{{Target: s.Target}}
	}
	for response, headers := range map[bool]map[string]string{false: s.RequestHeaders, true: s.ResponseHeaders} {
		for name, value := range headers {
			r.Headers = append(r.Headers, gatewarden.Header{Response: response, Name: strings.ToLower(name), Value: value})
		}
	}
	return Traffic{Rate: s.RPS, SLO: b.slo(s, &r), Record: r}
}

// slo makes the record one of the series of the SLO that the traffic names: for events
// that are not Kong's.
func (b *builder) slo(s *trafficSpec, r *gatewarden.Record) string {
	if !b.file.Has(&s.SLO) {
		if !b.file.Has(&s.Service) && !b.file.Has(&s.Route) {
			b.file.Errorf([]any{s}, "add service: NAME; or slo: NAME for events of an SLO on PromQL or on traces", "the traffic does not say of what it is")
		}
		return ""
	}
	slo := b.names.slos[s.SLO]
	if slo == nil {
		b.file.Errorf([]any{&s.SLO}, rules.DidYouMean(s.SLO, slices.Sorted(maps.Keys(b.names.slos)), "define it in the rules"), "there is no slo %q in the rules", s.SLO)
		return s.SLO
	}
	r.Signal, r.Service, r.Route, r.Consumer, r.Workspace = slo.Series.Signal, slo.Series.Service, slo.Series.Route, slo.Series.Consumer, slo.Series.Workspace
	if slo.Series.Tag != "" {
		r.Tags = []string{slo.Series.Tag}
	}
	return s.SLO
}

// expectation checks the words of an instant.
func (b *builder) expectation(s *expectSpec, t *testSpec) Expectation {
	f := b.file
	e := Expectation{At: s.At, Line: f.Line(s), SLOs: map[string][]string{}, Actions: map[string][]string{}, Runs: map[string]string{}}
	switch {
	case !f.Has(&s.At):
		f.Errorf([]any{s}, "add at: 5m, counted from the start", "it does not say when")
	case s.At <= 0 || s.At%time.Second != 0 || s.At > maxLength:
		f.Errorf([]any{&s.At}, "write at: 65s", "the instant must be whole seconds after the start")
	}
	if len(s.SLOs)+len(s.Actions)+len(s.Runs) == 0 {
		f.Errorf([]any{s}, "add slos: {NAME: healthy}, actions: {NAME: [drain]} or runs: {NAME: pass}", "nothing is expected")
	}
	slos := map[string]bool{}
	for name := range b.names.slos {
		slos[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(s.SLOs)) {
		b.known("slo", name, slos, rules.KeyOf(&s.SLOs, name))
		e.SLOs[name] = b.words(s, name)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Actions)) {
		b.known("action", name, b.names.actions, rules.KeyOf(&s.Actions, name))
		e.Actions[name] = s.Actions[name]
	}
	for _, name := range slices.Sorted(maps.Keys(s.Runs)) {
		at := rules.KeyOf(&s.Runs, name)
		b.known("canary", name, b.names.canaries, at)
		if !slices.ContainsFunc(t.Runs, func(r *runSpec) bool { return r.Canary == name }) {
			f.Errorf([]any{at}, "add runs: [{canary: "+name+", at: 1m}] to the test", "nobody begins a run of %s", name)
		}
		if word := s.Runs[name]; !slices.Contains([]string{"running", "pass", "fail", "inconclusive"}, word) {
			f.Errorf([]any{at}, "it is one of: running, pass, fail, inconclusive", "a run can't be %q", word)
		}
		e.Runs[name] = s.Runs[name]
	}
	return e
}

// words are those of an SLO's state.
func (b *builder) words(s *expectSpec, name string) []string {
	words := slices.Clone(s.SLOs[name])
	slices.Sort(words)
	for _, w := range words {
		alone := w == "healthy" || w == "inconclusive"
		if !alone && !slices.Contains([]string{"outage", "page", "ticket"}, w) || alone && len(words) > 1 {
			b.file.Errorf([]any{rules.KeyOf(&s.SLOs, name)}, "healthy, inconclusive, or the alerts that fire: [outage, page, ticket]", "an slo can't be %q", strings.Join(words, ", "))
			break
		}
	}
	if len(words) == 0 {
		b.file.Errorf([]any{rules.KeyOf(&s.SLOs, name)}, "write healthy when no alert is to fire", "it does not say how the slo is to be")
	}
	return words
}

// Records appends the requests in [from, to) since the start of t, in the order of their
// instants. What is alike and of one half second is one record of that weight, unless each
// is wanted by itself, as runs of canaries want them.
func (t *Test) Records(into []gatewarden.Record, from, to time.Duration, single bool) []gatewarden.Record {
	const tick = 500 * time.Millisecond
	for at := from; at < to; at += tick {
		before := len(into)
		for i := range t.Traffic {
			into = t.Traffic[i].records(into, t.Start, at, min(at+tick, to), single)
		}
		slices.SortStableFunc(into[before:], func(a, b gatewarden.Record) int { return a.At.Compare(b.At) })
	}
	return into
}

func (tr *Traffic) records(into []gatewarden.Record, start time.Time, from, to time.Duration, single bool) []gatewarden.Record {
	n := tr.Rate.Count(from, to)
	if n <= 0 {
		return into
	}
	r := tr.Record
	if !single {
		r.At, r.Weight = start.Add((from+to)/2), uint32(n)
		return append(into, r)
	}
	for i := range n {
		one := r
		one.Weight, one.At = 1, start.Add(from+(to-from)*time.Duration(2*i+1)/time.Duration(2*n))
		one.ClientIP = client(from, i)
		into = append(into, one)
	}
	return into
}

// client is the address of a request's client: each has its own, for a canary's judge
// counts the failures of one client in a row as one episode.
func client(at time.Duration, i int) string {
	n := uint32(at/time.Millisecond)*31 + uint32(i)
	return netip.AddrFrom4([4]byte{198, 18 + byte(n>>16&1), byte(n >> 8), byte(n)}).String()
}
