package app

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/collector/elasticsearch"
	"github.com/gatewarden/gatewarden/rules"
)

// sources asks the peers that sources ask.
func (d *doctor) sources(ctx context.Context) {
	names := rules.SourceNames(d.set.config.Sources)
	for i, s := range d.set.config.Sources {
		d.peer = names[i]
		within(ctx, func(ctx context.Context) { d.source(ctx, s) })
	}
}

// source asks the peer of one source.
func (d *doctor) source(ctx context.Context, s rules.Source) {
	m := settingsOf(s)
	var ask func(context.Context, sourceSettings, *httpPeer)
	switch s.Kind {
	case "prometheus":
		ask = d.prometheus
	case "elasticsearch":
		ask = func(ctx context.Context, m sourceSettings, p *httpPeer) { d.elasticsearch(ctx, s, m, p) }
	case "jaeger":
		ask = d.jaeger
	case "kongmetrics":
		d.scrapes(ctx, m)
		return
	case "filelog":
		d.followed(m)
		return
	default:
		return // it is sent to; what sends is looked at where it is
	}
	p, err := newHTTPPeer(m, filepath.Dir(d.set.config.File))
	if err != nil {
		d.failed("settings", err)
		return
	}
	d.clock(ctx, p.base, p.transport)
	ask(ctx, m, p)
}

// prometheus asks it what it is, and each SLO's queries as of now.
func (d *doctor) prometheus(ctx context.Context, m sourceSettings, p *httpPeer) {
	var build struct {
		Data struct {
			Version string `json:"version"`
		} `json:"data"`
	}
	what := "Prometheus"
	err := p.get(ctx, "/api/v1/status/buildinfo", nil, &build)
	if gatewarden.ErrorCode(err) == gatewarden.NotFound { // what only speaks the query API need not have it
		what = "what speaks the query API of Prometheus"
		err = p.get(ctx, "/api/v1/query", url.Values{"query": {"1"}}, &struct{}{})
	}
	if err != nil {
		d.failed("answers", err)
		return
	}
	if build.Data.Version != "" {
		what += " " + build.Data.Version
	}
	d.fine("answers", "%s answers at %s", what, withoutUser(p.base))
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

// elasticsearchAnswers asks it what it is, and reports whether more can be asked: who may
// only read an index may not ask that.
func (d *doctor) elasticsearchAnswers(ctx context.Context, p *httpPeer) bool {
	var root struct {
		Version struct {
			Number       string `json:"number"`
			Distribution string `json:"distribution"`
		} `json:"version"`
	}
	err := p.get(ctx, "/", nil, &root)
	if gatewarden.ErrorCode(err) == refusedLogin {
		d.doubtful("answers", err)
		return true
	}
	if err == nil && root.Version.Number == "" {
		err = gatewarden.Errorf(gatewarden.Invalid, "%s does not answer as Elasticsearch does", withoutUser(p.base))
	}
	if err != nil {
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

// elasticsearch asks it what it is, how the index is made, and whether it has documents of
// late.
func (d *doctor) elasticsearch(ctx context.Context, s rules.Source, m sourceSettings, p *httpPeer) {
	settings := elasticsearch.DefaultSettings()
	if err := s.Decode(&settings); err != nil || !d.elasticsearchAnswers(ctx, p) {
		return // the loader has said so
	}
	env := collector.Env{Name: d.peer, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Dir: filepath.Dir(d.set.config.File)}
	made, err := elasticsearch.Examine(ctx, env, settings)
	switch {
	case gatewarden.ErrorCode(err) == gatewarden.NotFound:
		d.doubtful("layout", err)
	case err != nil:
		d.failed("layout", err)
	default:
		d.fine("layout", "%s: %s", settings.Index, made.How)
	}
	d.indexOfLate(ctx, p, settings.Index, settings.Time, made.Number)
	if settings.Read == "documents" {
		d.refreshes(ctx, p, settings.Index, time.Duration(settings.Lag))
	}
}

// indexOfLate looks whether the index pattern leads to documents of late. A time that is a
// number counts milliseconds.
func (d *doctor) indexOfLate(ctx context.Context, p *httpPeer, index, when string, number bool) {
	const late = 15 * time.Minute
	var found struct {
		Count  int64 `json:"count"`
		Shards struct {
			Total  int `json:"total"`
			Failed int `json:"failed"`
		} `json:"_shards"`
	}
	from := "now-15m"
	if number {
		from = strconv.FormatInt(d.opts.Now().Add(-late).UnixMilli(), 10)
	}
	err := p.get(ctx, "/"+escapeIndex(index)+"/_count", url.Values{"q": {when + ":[" + from + " TO *]"}, "ignore_unavailable": {"true"}}, &found)
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

// refreshes looks whether documents can be found by the time that they are read: what shows
// later than lag is passed over.
func (d *doctor) refreshes(ctx context.Context, p *httpPeer, index string, lag time.Duration) {
	const setting = "index.refresh_interval"
	var answer map[string]struct {
		Settings map[string]string `json:"settings"`
	}
	err := p.get(ctx, "/"+escapeIndex(index)+"/_settings/"+setting, url.Values{"flat_settings": {"true"}, "ignore_unavailable": {"true"}}, &answer)
	if err != nil {
		return // it takes a permission of its own
	}
	for _, name := range slices.Sorted(maps.Keys(answer)) {
		interval := answer[name].Settings[setting]
		every, err := time.ParseDuration(interval)
		switch {
		case interval == "" || err == nil && every >= 0 && every <= lag:
		case err != nil && interval != "-1":
		case interval == "-1" || every < 0:
			d.trouble("refresh", "", "%s is never refreshed (%s: %s): nothing of it can be read", name, setting, interval)
		default:
			d.trouble("refresh", "lag: "+gatewarden.Duration(every+5*time.Second).String()+"   # in the source; or a shorter "+setting,
				"%s is refreshed each %s and read %s behind: what shows later is not counted", name, interval, gatewarden.Duration(lag))
		}
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

// jaegerServices asks for the names of services, by the API that is there to stay and else
// by the older one. Where there is no API a Jaeger of some versions answers with its page.
func jaegerServices(ctx context.Context, p *httpPeer) ([]string, error) {
	var v3 struct {
		Services *[]string `json:"services"`
	}
	if err := p.get(ctx, "/api/v3/services", nil, &v3); err == nil && v3.Services != nil {
		return *v3.Services, nil
	} else if code := gatewarden.ErrorCode(err); code == gatewarden.Unavailable || code == refusedLogin {
		return nil, err
	}
	var old struct {
		Data []string `json:"data"`
	}
	err := p.get(ctx, "/api/services", nil, &old)
	return old.Data, err
}

// jaeger asks it for the services that the source and SLOs are about.
func (d *doctor) jaeger(ctx context.Context, m sourceSettings, p *httpPeer) {
	known, err := jaegerServices(ctx, p)
	if err != nil {
		d.failed("answers", err)
		return
	}
	d.fine("answers", "Jaeger answers at %s and knows %s", withoutUser(p.base), many(len(known), "service", "services"))
	look := "curl " + withoutUser(p.base) + "/api/v3/services   # before 1.76: /api/services"
	for _, service := range m.texts("services") {
		if slices.Contains(known, service) {
			d.fine("services", "Jaeger has traces of %s, which are asked for", service)
		} else {
			d.doubt("services", look, "the source asks for traces of %s, and Jaeger has none of that name", service)
		}
	}
	for i := range d.set.rules.SLOs {
		s := &d.set.rules.SLOs[i]
		if s.Series.Signal != gatewarden.SignalTraces || s.Series.Service == "" {
			continue
		}
		if slices.Contains(known, s.Series.Service) {
			d.fine("services", "the SLO %s: Jaeger has spans of %s", s.Name, s.Series.Service)
		} else {
			d.doubt("services", look, "the SLO %s is about spans of %s, and Jaeger has none of that name", s.Name, s.Series.Service)
		}
	}
}

// scrapes asks Kong's nodes for their metrics.
func (d *doctor) scrapes(ctx context.Context, m sourceSettings) {
	p, err := newHTTPPeer(m, filepath.Dir(d.set.config.File))
	if err != nil {
		d.failed("settings", err)
		return
	}
	for _, target := range d.nodes(ctx, m) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.address, nil)
		if err != nil {
			continue // the loader has said so
		}
		req.Header = p.header.Clone()
		req.Header.Del("Accept") // what is asked for is text
		req.Host = target.host
		d.scrape(p.transport, req)
	}
}

// scraped is a node of Kong's, by an address, and by the name in the settings when that is
// another.
type scraped struct{ address, host string }

// nodes resolves the names that stand for nodes, as the source does.
func (d *doctor) nodes(ctx context.Context, m sourceSettings) (all []scraped) {
	for _, target := range m.texts("targets") {
		all = append(all, scraped{address: target})
	}
	for _, target := range m.texts("dns") {
		u, err := url.Parse(target)
		if err != nil {
			continue // the loader has said so
		}
		addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
		if err != nil || len(addresses) == 0 {
			d.trouble("metrics", "getent hosts "+u.Hostname(), "dns: %s has no address: %v", u.Hostname(), plainNet(err))
		}
		for _, ip := range addresses {
			at := *u
			if at.Host = ip.Unmap().String(); u.Port() != "" {
				at.Host = net.JoinHostPort(at.Host, u.Port())
			} else if ip.Unmap().Is6() {
				at.Host = "[" + at.Host + "]"
			}
			all = append(all, scraped{at.String(), u.Host})
		}
	}
	for _, target := range m.texts("srv") {
		u, err := url.Parse(target)
		if err != nil {
			continue // the loader has said so
		}
		_, records, err := net.DefaultResolver.LookupSRV(ctx, "", "", u.Hostname())
		if len(records) == 0 {
			d.trouble("metrics", "dig SRV "+u.Hostname(), "srv: %s has no SRV record: %v", u.Hostname(), plainNet(err))
		}
		for _, r := range records {
			at := *u
			at.Host = net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port)))
			all = append(all, scraped{address: at.String()})
		}
	}
	return all
}

func (d *doctor) scrape(t http.RoundTripper, req *http.Request) {
	address := withoutUser(req.URL.String())
	resp, err := t.RoundTrip(req)
	if err != nil {
		d.trouble("metrics", "status_listen = 0.0.0.0:8100   # in kong.conf", "%s does not answer: %v", address, plainNet(err))
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		d.trouble("metrics", "curl -X POST $KONG_ADMIN/plugins -d name=prometheus -d config.status_code_metrics=true", "%s answers 404: the prometheus plugin is not there, or this is not the status listener", address)
		return
	}
	if resp.StatusCode != http.StatusOK {
		d.trouble("metrics", "curl "+address, "%s answers %s", address, resp.Status)
		return
	}
	kongs, requests, err := exposes(resp.Body)
	switch {
	case requests:
		d.fine("metrics", "%s counts requests", address)
	case err != nil:
		d.trouble("metrics", "curl "+address, "the answer of %s was cut: %v", address, err)
	case !kongs:
		d.trouble("metrics", "curl "+address, "%s has metrics, and none of Kong's", address)
	default:
		d.doubt("metrics", "curl -s "+address+" | grep kong_http_requests_total", "%s counts no requests yet: status_code_metrics is off, or there were none", address)
	}
}

// exposes reports whether an exposition has metrics of Kong's, and counts of requests among
// them. It reads no further than it must: a large gateway's is many megabytes.
func exposes(r io.Reader) (kongs, requests bool, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if line := lines.Bytes(); bytes.HasPrefix(line, []byte("kong_")) {
			if kongs = true; bytes.HasPrefix(line, []byte("kong_http_requests_total")) {
				return true, true, nil
			}
		}
	}
	return kongs, false, lines.Err()
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
