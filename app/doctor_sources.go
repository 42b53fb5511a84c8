package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/rules"
)

// sources asks the peers that sources ask.
func (d *doctor) sources(ctx context.Context) {
	names := rules.SourceNames(d.set.config.Sources)
	for i, s := range d.set.config.Sources {
		d.peer = names[i]
		m := settingsOf(s)
		var ask func(context.Context, sourceSettings, *httpPeer)
		switch s.Kind {
		case "prometheus":
			ask = d.prometheus
		case "elasticsearch":
			ask = d.elasticsearch
		case "jaeger":
			ask = d.jaeger
		case "kongmetrics":
			d.scrapes(ctx, m)
			continue
		case "filelog":
			d.followed(m)
			continue
		default:
			continue // it is sent to; what sends is looked at where it is
		}
		p, err := newHTTPPeer(m, filepath.Dir(d.set.config.File))
		if err != nil {
			d.failed("settings", err)
			continue
		}
		d.clock(ctx, p.base, p.transport)
		ask(ctx, m, p)
	}
}

// prometheus asks it what it is, and each SLO's queries as of now.
func (d *doctor) prometheus(ctx context.Context, m sourceSettings, p *httpPeer) {
	var build struct {
		Data struct {
			Version string `json:"version"`
		} `json:"data"`
	}
	if err := p.get(ctx, "/api/v1/status/buildinfo", nil, &build); gatewarden.ErrorCode(err) == gatewarden.Unavailable {
		d.failed("answers", err)
		return
	} // what only speaks the query API need not have it
	d.fine("answers", "Prometheus %s answers at %s", build.Data.Version, withoutUser(p.base))
	for _, s := range queriesOf(d.set.rules, d.peer) {
		q := s.SLI.Query
		for _, part := range []struct{ what, expr string }{{"total_query", q.Total}, {"error_query", q.Error}, {"good_query", q.Good}} {
			if part.expr != "" {
				d.query(ctx, p, &s, part.what, part.expr, m.text("window"))
			}
		}
	}
}

// query evaluates one query as of now.
func (d *doctor) query(ctx context.Context, p *httpPeer, s *gatewarden.SLO, what, expr, window string) {
	if window == "" {
		window = "1m"
	}
	expr = strings.NewReplacer("{{.window}}", window, "{{ .window }}", window).Replace(expr)
	var answer struct {
		Data struct {
			Type   string `json:"resultType"`
			Result []any  `json:"result"`
		} `json:"data"`
		Warnings []string `json:"warnings"`
	}
	who := fmt.Sprintf("the %s of the SLO %s", what, s.Name)
	err := p.get(ctx, "/api/v1/query", url.Values{"query": {expr}}, &answer)
	fix := fmt.Sprintf("curl -G %s/api/v1/query --data-urlencode 'query=%s'", withoutUser(p.base), strings.ReplaceAll(expr, "'", `'\''`))
	switch n := len(answer.Data.Result); {
	case err != nil:
		d.trouble("queries", fix, "%s: %s", who, messageOf(err))
	case answer.Data.Type == "scalar":
		d.fine("queries", "%s gives a number", who)
	case n == 0:
		d.doubt("queries", fix, "%s gives nothing as of now: no data is never good, so the SLO stays inconclusive until there is some", who)
	case n > 1:
		d.trouble("queries", fix, "%s gives %d series, and one is needed: put sum(…) around it", who, n)
	case len(answer.Warnings) > 0:
		d.doubt("queries", fix, "%s: %s", who, strings.Join(answer.Warnings, "; "))
	default:
		d.fine("queries", "%s gives one series", who)
	}
}

// elasticsearchAnswers asks it what it is, and reports whether it says so.
func (d *doctor) elasticsearchAnswers(ctx context.Context, p *httpPeer) bool {
	var root struct {
		Version struct {
			Number       string `json:"number"`
			Distribution string `json:"distribution"`
		} `json:"version"`
	}
	if err := p.get(ctx, "/", nil, &root); err != nil || root.Version.Number == "" {
		if err == nil {
			err = gatewarden.Errorf(gatewarden.Invalid, "%s does not answer as Elasticsearch does", withoutUser(p.base))
		}
		d.failed("answers", err)
		return false
	}
	what := "Elasticsearch"
	if root.Version.Distribution != "" {
		what = "OpenSearch"
	}
	d.fine("answers", "%s %s answers at %s", what, root.Version.Number, withoutUser(p.base))
	return true
}

// elasticsearch asks it what it is, and whether the index pattern leads to documents of
// late.
func (d *doctor) elasticsearch(ctx context.Context, m sourceSettings, p *httpPeer) {
	if !d.elasticsearchAnswers(ctx, p) {
		return
	}
	index, when := m.text("index"), m.text("time")
	if when == "" || when == "auto" {
		when = "@timestamp"
	}
	const late = 15 * time.Minute
	var found struct {
		Count  int64 `json:"count"`
		Shards struct {
			Total  int `json:"total"`
			Failed int `json:"failed"`
		} `json:"_shards"`
	}
	path := "/" + escapeIndex(index) + "/_count"
	err := p.get(ctx, path, url.Values{"q": {when + `:>="now-15m"`}, "ignore_unavailable": {"true"}}, &found)
	fix := fmt.Sprintf("curl '%s/%s/_search?size=1&sort=%s:desc'", withoutUser(p.base), index, when)
	switch {
	case err != nil:
		d.failed("index", err)
	case found.Shards.Total == 0:
		d.trouble("index", "curl "+withoutUser(p.base)+"/_cat/indices/"+index, "no index is called %s", index)
	case found.Shards.Failed > 0:
		d.doubt("index", "curl "+withoutUser(p.base)+"/_cat/shards/"+index, "%d of %d shards of %s do not answer: not all data is there", found.Shards.Failed, found.Shards.Total, index)
	case found.Count == 0:
		d.doubt("index", fix, "%s has no document whose %s lies within the last %s", index, when, gatewarden.Duration(late))
	default:
		d.fine("index", "%s has %d documents of the last %s", index, found.Count, gatewarden.Duration(late))
	}
}

// escapeIndex escapes what is between the commas of an index pattern.
func escapeIndex(index string) string {
	parts := strings.Split(index, ",")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, ",")
}

// jaeger asks it for the services that SLOs are about.
func (d *doctor) jaeger(ctx context.Context, _ sourceSettings, p *httpPeer) {
	var answer struct {
		Data []string `json:"data"`
	}
	if err := p.get(ctx, "/api/services", nil, &answer); err != nil {
		d.failed("answers", err)
		return
	}
	d.fine("answers", "Jaeger answers at %s and knows %s", withoutUser(p.base), many(len(answer.Data), "service", "services"))
	for i := range d.set.rules.SLOs {
		s := &d.set.rules.SLOs[i]
		if s.Series.Signal != gatewarden.SignalTraces || s.Series.Service == "" {
			continue
		}
		if slices.Contains(answer.Data, s.Series.Service) {
			d.fine("services", "the SLO %s: Jaeger has spans of %s", s.Name, s.Series.Service)
		} else {
			d.doubt("services", "curl "+withoutUser(p.base)+"/api/services", "the SLO %s is about spans of %s, and Jaeger has none of that name", s.Name, s.Series.Service)
		}
	}
}

// scrapes asks Kong's nodes for their metrics.
func (d *doctor) scrapes(ctx context.Context, m sourceSettings) {
	headers, _ := m["headers"].(map[string]any)
	for _, target := range m.texts("targets") {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
		if err != nil {
			continue // the loader has said so
		}
		for name, value := range headers {
			req.Header.Set(name, text(value))
		}
		t, err := transport("")
		if err != nil {
			d.failed("metrics", err)
			return
		}
		d.scrape(t, req)
	}
}

func (d *doctor) scrape(t http.RoundTripper, req *http.Request) {
	address := withoutUser(req.URL.String())
	resp, err := t.RoundTrip(req)
	if err != nil {
		d.trouble("metrics", "status_listen = 0.0.0.0:8100   # in kong.conf", "%s does not answer: %v", address, plainNet(err))
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostOfAPeer))
	switch {
	case resp.StatusCode == http.StatusNotFound:
		d.trouble("metrics", "curl -X POST $KONG_ADMIN/plugins -d name=prometheus -d config.status_code_metrics=true", "%s answers 404: the prometheus plugin is not there, or this is not the status listener", address)
	case resp.StatusCode != http.StatusOK || err != nil:
		d.trouble("metrics", "curl "+address, "%s answers %s", address, resp.Status)
	case !strings.Contains(string(body), "kong_node_info") && !strings.Contains(string(body), "kong_"):
		d.trouble("metrics", "curl "+address, "%s has metrics, and none of Kong's", address)
	case !strings.Contains(string(body), "kong_http_requests_total"):
		d.doubt("metrics", "curl -s "+address+" | grep kong_http_requests_total", "%s counts no requests yet: status_code_metrics is off, or there were none", address)
	default:
		d.fine("metrics", "%s counts requests", address)
	}
}

// followed looks whether the files that are followed are there.
func (d *doctor) followed(m sourceSettings) {
	for _, pattern := range m.texts("paths") {
		at := pattern
		if !filepath.IsAbs(at) {
			at = filepath.Join(filepath.Dir(d.set.config.File), at)
		}
		files, err := filepath.Glob(at)
		if err != nil || len(files) == 0 {
			d.doubt("files", "ls -l "+at, "there is no file %s yet", pattern)
			continue
		}
		readable := true
		for _, f := range files {
			r, err := os.Open(f)
			if err != nil {
				readable = false
				d.trouble("files", "chmod o+r "+f, "%v", err)
				continue
			}
			r.Close()
		}
		if readable {
			d.fine("files", "%s: %s can be read", pattern, many(len(files), "file", "files"))
		}
	}
}
