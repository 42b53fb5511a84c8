package rules

import (
	"errors"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// prometheusSpec is an SLI that a Prometheus counts.
type prometheusSpec struct {
	TotalQuery string `yaml:"total_query"`
	ErrorQuery string `yaml:"error_query"`
	GoodQuery  string `yaml:"good_query"`
	Source     string `yaml:"source"`
}

// tracesSpec is an SLI on spans: of a service, and of one operation and kind if they are
// said.
type tracesSpec struct {
	Service   string        `yaml:"service"`
	Operation string        `yaml:"operation"`
	Kind      string        `yaml:"kind"`
	Threshold time.Duration `yaml:"threshold"`
	Good      *string       `yaml:"good"`
}

// query checks the queries and makes the series one of its own for them.
func (s *sloSpec) query(d *document, series *gatewarden.Series) gatewarden.SLI {
	p := s.SLI.Prometheus
	q := gatewarden.Query{Source: p.Source, Total: strings.TrimSpace(p.TotalQuery), Error: strings.TrimSpace(p.ErrorQuery), Good: strings.TrimSpace(p.GoodQuery)}
	if q.Total == "" {
		d.errorf(d.find(&p.TotalQuery, p), "add total_query: sum(rate(http_requests_total[{{.window}}]))", "the sli does not say what all events are")
	}
	switch {
	case q.Error == "" && q.Good == "":
		d.errorf(d.find(p), "add error_query, or good_query", "the sli does not say which events are bad")
	case q.Error != "" && q.Good != "":
		d.errorf(d.find(&p.GoodQuery, p), "keep one of them", "the sli has both error_query and good_query")
	}
	series.Signal = q.Signal()
	return gatewarden.SLI{Kind: gatewarden.SLIAvailability, Query: &q}
}

// CheckQueries reports queries that check, which knows how they are counted, has something
// against: its errors begin with the key of the side that is wrong. Two SLOs that ask the
// same must be for the same requests, since each event is counted once.
func (r *Rules) CheckQueries(check func(*gatewarden.Query) error) Problems {
	var all []Problems
	first := map[string]int{}
	for i, s := range r.slos {
		p, q := s.SLI.Prometheus, r.SLOs[i].SLI.Query
		if p == nil || q == nil || q.Total == "" || (q.Error == "") == (q.Good == "") {
			continue // said already
		}
		d := s.doc.fork()
		d.places = s.doc.places
		if e, ok := errors.AsType[*gatewarden.Error](check(q)); ok {
			key, why, _ := strings.Cut(e.Message, ": ")
			field := map[string]*string{"total_query": &p.TotalQuery, "error_query": &p.ErrorQuery, "good_query": &p.GoodQuery}[key]
			d.errorf(d.find(field, p), e.Hint, "%s: %s", key, why)
		}
		if k, ok := first[q.Signal()]; !ok {
			first[q.Signal()] = i
		} else if r.SLOs[k].Series != r.SLOs[i].Series {
			d.errorf(d.find(p), "give both the same service and route, or none", "the slo %q asks the same, for other requests", r.SLOs[k].Name)
		}
		all = append(all, d.finish())
	}
	return Join(all...)
}

// spans checks what is said of spans, and makes the series one of spans.
func (s *sloSpec) spans(d *document, series *gatewarden.Series) gatewarden.SLI {
	t := s.SLI.Traces
	for _, f := range []*string{&s.Route, &s.Consumer, &s.Workspace, &s.Tag} {
		if at := d.find(f); at != nil {
			d.errorf(at, "remove it; name an operation in sli: {traces: {operation: ...}}", "spans have a service and an operation, this selects requests of Kong")
		}
	}
	service := series.Service
	if at := d.find(&t.Service); at != nil {
		checkSelector(d, at, t.Service)
		service = orAny(t.Service)
	}
	kind := "server"
	if at := d.find(&t.Kind); at != nil {
		kind = t.Kind
		d.choice(at, "kind", kind, "server", "client", "producer", "consumer", "internal")
	}
	*series = gatewarden.Series{Signal: gatewarden.SignalTraces, Service: service, Route: orAny(t.Operation), Tag: kind}
	switch at := d.find(&t.Threshold); {
	case at != nil && t.Good != nil:
		d.errorf(at, "make an slo of each", "an sli of spans has a threshold or good, not both")
	case at != nil:
		checkThreshold(d, at, t.Threshold)
		return gatewarden.SLI{Kind: gatewarden.SLILatency, Threshold: t.Threshold, Of: gatewarden.OfRequest}
	case t.Good != nil:
		return s.good(d, t.Good)
	}
	return gatewarden.SLI{Kind: gatewarden.SLIAvailability}
}
