package prometheus_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/gatewarden/gatewarden/internal/loglines"
)

// formats are the ways to ask for metrics that Prometheus knows, and what the guard
// answers, by the name of the job that asks so. "default" asks as a Prometheus does
// that was told nothing.
var formats = map[string]struct {
	protocols []config.ScrapeProtocol
	answer    string // begin of the Content-Type
}{
	"default":       {nil, "application/openmetrics-text; version=1.0.0"},
	"openmetrics_1": {[]config.ScrapeProtocol{config.OpenMetricsText1_0_0}, "application/openmetrics-text; version=1.0.0"},
	"openmetrics_0": {[]config.ScrapeProtocol{config.OpenMetricsText0_0_1}, "application/openmetrics-text; version=0.0.1"},
	"text_0":        {[]config.ScrapeProtocol{config.PrometheusText0_0_4}, "text/plain; version=0.0.4"},
	// The guard's library does not write version 1 of the text format, which differs in
	// quoted names only, and answers with the version before.
	"text_1":   {[]config.ScrapeProtocol{config.PrometheusText1_0_0}, "text/plain; version=0.0.4"},
	"protobuf": {[]config.ScrapeProtocol{config.PrometheusProto}, "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"},
}

// jobs are the names of formats, sorted.
func jobs() []string { return slices.Sorted(maps.Keys(formats)) }

// TestPrometheusTakesTheMetrics runs the guard through an outage, scrapes it in every
// format, and asks Prometheus about it.
func TestPrometheusTakesTheMetrics(t *testing.T) {
	p := startPeers(t)
	g := startGuard(t, p)
	seen := &answers{types: map[string]string{}}
	s := startServer(t, prometheusYAML(t, seen, g.api)+kongYAML(t, p))
	for _, job := range jobs() {
		s.awaitScrape(t, job, time.Time{}, 1) // so that the counters are seen to move
	}
	posted := g.live(t, p)

	exposed := g.metrics(t)
	after := time.Now()
	for _, job := range jobs() {
		t.Run(job, func(t *testing.T) {
			s := s.awaitScrape(t, job, after, 1)
			if got, want := seen.of(job), formats[job].answer; !strings.HasPrefix(got, want) {
				t.Errorf("scraped as %q, want %q", got, want)
			}
			checkArrival(t, s, job, exposed)
			checkFamilies(t, s, job, exposed)
			checkCounts(t, s, job, posted)
			checkActions(t, s, job)
			checkHistograms(t, s, job, exposed)
		})
	}
	t.Run("traces", p.checkTraces)
	t.Run("names", func(t *testing.T) { checkNaming(t, exposed) })
	t.Run("dashboards", func(t *testing.T) {
		// A rate needs two samples, also of what has been there since the last post only.
		one := s.awaitScrape(t, "default", after, 1)
		two := s.awaitScrape(t, "default", one.at, 1)
		checkDashboards(t, two, "default")
	})
	if dropped := s.droppedSamples(t); len(dropped) > 0 {
		t.Errorf("samples that Prometheus could not take: %v", dropped)
	}
	if log := s.log.String(); log != "" {
		t.Errorf("Prometheus complains:\n%s", log)
	}
}

// checkNaming holds the metrics to what Prometheus tolerates and people should not.
func checkNaming(t *testing.T, families map[string]*dto.MetricFamily) {
	t.Helper()
	problems, err := promlint.NewWithMetricFamilies(slices.Collect(maps.Values(families))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		// The names are Sloth's: those of recording rules, which have colons.
		if !strings.HasPrefix(problem.Metric, "slo:") || !strings.Contains(problem.Text, "':'") {
			t.Errorf("%s: %s", problem.Metric, problem.Text)
		}
	}
	for name, f := range families {
		checkNames(t, name, f)
	}
	for _, name := range []string{
		"gatewarden_app_records_total", "gatewarden_app_source_lag_seconds", "gatewarden_app_tick_seconds",
		"gatewarden_config_last_reload_successful", "gatewarden_httplog_requests_total", "gatewarden_journal_events_total",
		"gatewarden_store_records_total", "gatewarden_store_series", "gatewarden_actions_call_duration_seconds",
		"gatewarden_actions_in_place", "gatewarden_actions_lease_remaining_seconds", "gatewarden_kong_request_duration_seconds",
		"gatewarden_kong_requests_total", "gatewarden_jenkins_requests_total", "gatewarden_notify_calls_total",
		"gatewarden_app_slo_state", "gatewarden_app_slo_burn_rate", "gatewarden_app_requests_total", "gatewarden_app_latency_seconds",
		"slo:sli_error:ratio_rate5m", "slo:sli_error:ratio_rate30d", "slo:period_error_budget_remaining:ratio", "sloth_slo_info",
		"go_goroutines", "process_resident_memory_bytes",
	} {
		if families[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}

// checkNames holds one family to the rules for names, and to having no series twice.
func checkNames(t *testing.T, name string, f *dto.MetricFamily) {
	t.Helper()
	if !slices.ContainsFunc([]string{"gatewarden_", "go_", "process_", "slo:", "sloth_slo_info"}, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
		t.Errorf("%s belongs to nobody", name)
	}
	if !model.LegacyValidation.IsValidMetricName(name) {
		t.Errorf("%s needs quotes in PromQL", name)
	}
	series := map[string]bool{}
	for _, m := range f.GetMetric() {
		var key strings.Builder
		for _, l := range m.GetLabel() {
			fmt.Fprintf(&key, "%s=%q,", l.GetName(), l.GetValue())
			if !model.LegacyValidation.IsValidLabelName(l.GetName()) || strings.HasPrefix(l.GetName(), "__") {
				t.Errorf("%s has a label %q", name, l.GetName())
			}
			if l.GetName() == "job" || l.GetName() == "instance" {
				t.Errorf("%s has the label %s, which Prometheus sets itself", name, l.GetName())
			}
		}
		if series[key.String()] {
			t.Errorf("%s{%s} is exposed twice", name, key.String())
		}
		series[key.String()] = true
	}
}

// TestScrapesCanFail shows that the checks above see what they look for: what no
// Prometheus takes is not taken here.
func TestScrapesCanFail(t *testing.T) {
	bad := map[string]struct{ contentType, text string }{
		"garbage":     {"text/plain; version=0.0.4", "gatewarden_x_total 1\nthis is { no metric\n"},
		"no_eof":      {"application/openmetrics-text; version=1.0.0; charset=utf-8", "# TYPE gatewarden_x counter\ngatewarden_x_total 1\n"},
		"wrong_total": {"application/openmetrics-text; version=1.0.0; charset=utf-8", "gatewarden_x_total one\n# EOF\n"},
		"page":        {"text/html", "<html></html>"},
	}
	yaml := "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n"
	add := func(job, contentType, text string) {
		target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = io.WriteString(w, text)
		}))
		yaml += scrapeConfig(job, strings.TrimPrefix(target, "http://"), nil)
	}
	for job, b := range bad {
		add(job, b.contentType, b.text)
	}
	add("twice", "text/plain; version=0.0.4", "gatewarden_x_total 1\ngatewarden_x_total 2\n")
	s := startServer(t, yaml)
	for job := range bad {
		s.awaitScrape(t, job, time.Time{}, 0)
		if err := s.target(job).LastError(); err == nil {
			t.Errorf("%s: no error", job)
		}
	}
	s.awaitScrape(t, "twice", time.Time{}, 1)
	if dropped := s.droppedSamples(t); dropped["prometheus_target_scrapes_sample_duplicate_timestamp_total"] == 0 {
		t.Errorf("a series that came twice was not noticed: %v", dropped)
	}
	if s.log.String() == "" {
		t.Error("a series that came twice was not complained of")
	}
}

// prometheusYAML is a prometheus.yml with a job for each format. Between Prometheus and
// the guard stands a proxy that notes which format the guard answered with.
func prometheusYAML(t *testing.T, seen *answers, addr string) string {
	t.Helper()
	yaml := "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n"
	for _, job := range jobs() {
		proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
		proxy.ModifyResponse = func(r *http.Response) error {
			seen.note(job, r.Header.Get("Content-Type"))
			return nil
		}
		yaml += scrapeConfig(job, strings.TrimPrefix(serve(t, proxy), "http://"), formats[job].protocols)
		if job == "protobuf" { // the only format that has them
			yaml += "    scrape_native_histograms: true\n    always_scrape_classic_histograms: true\n"
		}
	}
	return yaml
}

func scrapeConfig(job, addr string, protocols []config.ScrapeProtocol) string {
	yaml := fmt.Sprintf("  - job_name: %s\n    static_configs: [{targets: [%q]}]\n", job, addr)
	if protocols != nil {
		yaml += fmt.Sprintf("    scrape_protocols: [%s]\n", protocols[0])
	}
	return yaml
}

// kongYAML scrapes the gateway: a stand-in that has traffic, and the captured metrics of a
// real Kong, which has more of nginx.
func kongYAML(t *testing.T, p *peers) string {
	t.Helper()
	captured, err := os.ReadFile(filepath.Join("..", "..", "internal", "fakekong", "testdata", "metrics.txt"))
	if err != nil {
		t.Fatal(err)
	}
	node := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=UTF-8") // as Kong answers
		_, _ = w.Write(captured)
	}))
	return scrapeConfig("kong", strings.TrimPrefix(p.kong, "http://"), nil) + scrapeConfig("kong_captured", strings.TrimPrefix(node, "http://"), nil)
}

// answers are the content types of the latest scrapes by job.
type answers struct {
	mu    sync.Mutex
	types map[string]string
}

func (a *answers) note(job, contentType string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.types[job] = contentType
}

func (a *answers) of(job string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.types[job]
}

// counts are what was posted to the guard.
type counts struct {
	fates    map[string]float64 // of records
	rejected float64
	requests map[string]float64 // by code
	bytes    float64
}

// live posts records of every fate, and then bad ones until the guard has acted in
// every way it has.
func (g *guard) live(t *testing.T, p *peers) counts {
	t.Helper()
	lines := &logs{writer: loglines.NewWriter()}
	posted := counts{fates: map[string]float64{}, requests: map[string]float64{}}
	post := func(body []byte, status int) {
		g.post(t, body, status)
		posted.requests[fmt.Sprint(status)]++
		posted.bytes += float64(len(body))
	}
	records := func(fate string, n int, l loglines.Line) {
		post(lines.body(n, l), http.StatusOK)
		posted.fates[fate] += float64(n)
	}
	now := time.Now()
	records("counted", 40, loglines.Line{At: now, Service: "payments", Status: 200, Millis: 25})
	records("too_late", 3, loglines.Line{At: now.AddDate(-1, 0, 0), Service: "orders", Status: 200, Millis: 5})
	records("future", 2, loglines.Line{At: now.Add(time.Hour), Service: "orders", Status: 200, Millis: 5})
	again := lines.body(100, loglines.Line{At: now, Service: "orders", Status: 200, Millis: 10})
	post(again, http.StatusOK)
	posted.fates["counted"] += 100
	post(again, http.StatusOK)
	posted.fates["duplicate"] += 100
	post([]byte(`[7, "words", {"hello": "world"}]`), http.StatusOK)
	posted.rejected += 3
	post([]byte(`[{"request": {"id"`), http.StatusBadRequest)

	g.judge(t)
	slow, all := 0, 40
	deadline, next := time.After(patience), time.NewTicker(100*time.Millisecond)
	defer next.Stop()
	for !g.settled(t) {
		records("counted", 20, loglines.Line{At: time.Now(), Service: "orders", Status: 500, Millis: 30})
		// The canary of payments fails more often than its baseline. Of all its requests 0.8 % are slow, against
		// the 1 % that may be, so that there is a budget and a time when it ends.
		records("counted", 30, loglines.Line{At: time.Now(), Service: "payments", Status: 200, Millis: 25})
		records("counted", 10, loglines.Line{At: time.Now(), Service: "payments", Status: 200, Millis: 25, Version: "v2"})
		records("counted", 1, loglines.Line{At: time.Now(), Service: "payments", Status: 500, Millis: 25, Version: "v2"})
		records("counted", 1, loglines.Line{At: time.Now(), Service: "payments", Status: 500, Millis: 25})
		if all += 42; slow*125 < all {
			slow, all = slow+1, all+1
			records("counted", 1, loglines.Line{At: time.Now(), Service: "payments", Status: 200, Millis: 400})
		}
		p.request(t, "/orders")
		p.request(t, "/payments")
		select {
		case <-next.C:
		case <-deadline:
			t.Fatalf("orders fails, but after %s the guard has not done all that it should", patience)
		}
	}
	// What the plugin that is in place now answers is shed.
	records("shed", 7, loglines.Line{At: time.Now(), Service: "recommendations", Status: 503, Kong: true})
	return posted
}

// settled reports whether the guard has applied every step, counts the plugin alone as in
// place, and has compared the canary with its baseline and the log with Kong's counters:
// from then on its metrics have the same series, whatever their values.
func (g *guard) settled(t *testing.T) bool {
	t.Helper()
	families := g.metrics(t)
	applied, place := 0, []string{}
	for _, m := range families["gatewarden_actions_status_changes_total"].GetMetric() {
		if label(m, "status") == "applied" {
			applied++
		}
	}
	for _, m := range families["gatewarden_actions_in_place"].GetMetric() {
		place = append(place, label(m, "kind")+" "+label(m, "status"))
	}
	judged := true
	for _, family := range []string{"canary_error", "canary_latency", "completeness", "source_completeness"} {
		judged = judged && families["gatewarden_app_"+family+"_ratio"] != nil
	}
	return applied == 3 && slices.Equal(place, []string{"plugin applied"}) && judged
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// metrics fetches the metrics as curl would get them.
func (g *guard) metrics(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.api+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET /metrics: %s, %v, %s", resp.Status, err, text)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("the text does not parse: %v\n%s", err, text)
	}
	return families
}

// checkArrival wants every series that the guard exposes in Prometheus, and nothing else
// there but what Prometheus adds.
func checkArrival(t *testing.T, s instant, job string, exposed map[string]*dto.MetricFamily) {
	t.Helper()
	if got := s.value(t, `scrape_samples_scraped{job=%q}`, job); got == 0 {
		t.Error("no samples were scraped")
	}
	if got := s.value(t, `scrape_samples_scraped{job=%q} - scrape_samples_post_metric_relabeling{job=%[1]q}`, job); got != 0 {
		t.Errorf("%v samples got lost", got)
	}
	want := map[string]bool{}
	for _, f := range exposed {
		for _, series := range seriesOf(f) {
			want[series] = true
		}
	}
	names, got := map[string]bool{}, map[string]bool{}
	for series := range want {
		name, _, _ := strings.Cut(strings.TrimPrefix(series, `{__name__="`), `"`)
		names[name] = true
	}
	for _, sample := range s.query(t, `{job=%q, __name__!~"up|scrape_.*"}`, job) {
		if sample.H != nil {
			continue // a native histogram, which text has no form for: checkHistograms looks
		}
		series := labels.NewBuilder(sample.Metric).Del("job", "instance").Labels()
		got[series.String()] = true
		if !names[series.Get(model.MetricNameLabel)] {
			t.Errorf("Prometheus has %s, which the guard does not expose as text", series)
		}
	}
	maps.DeleteFunc(want, func(series string, _ bool) bool { return got[series] })
	if len(want) > 0 {
		t.Errorf("these did not arrive:\n%s", strings.Join(slices.Sorted(maps.Keys(want)), "\n"))
	}
	if len(got) < 100 {
		t.Errorf("only %d series have arrived; does this test still see them?", len(got))
	}
}

// seriesOf returns the series of a family as Prometheus stores them.
func seriesOf(f *dto.MetricFamily) []string {
	var list []string
	for _, m := range f.GetMetric() {
		add := func(suffix string, extra ...string) {
			b := labels.NewBuilder(labels.FromStrings(extra...))
			b.Set(model.MetricNameLabel, f.GetName()+suffix)
			for _, l := range m.GetLabel() {
				b.Set(l.GetName(), l.GetValue())
			}
			list = append(list, b.Labels().String())
		}
		switch f.GetType() {
		case dto.MetricType_HISTOGRAM:
			for _, bucket := range m.GetHistogram().GetBucket() {
				add("_bucket", "le", labels.FormatOpenMetricsFloat(bucket.GetUpperBound()))
			}
			add("_sum")
			add("_count")
		case dto.MetricType_SUMMARY:
			for _, q := range m.GetSummary().GetQuantile() {
				add("", "quantile", labels.FormatOpenMetricsFloat(q.GetQuantile()))
			}
			add("_sum")
			add("_count")
		default:
			add("")
		}
	}
	return list
}

// checkFamilies wants Prometheus to know each family's type and help. Only those of the
// guard: in OpenMetrics, the client library's own go_memstats_alloc_bytes_total and
// go_memstats_alloc_bytes are two families of one name.
func checkFamilies(t *testing.T, s instant, job string, exposed map[string]*dto.MetricFamily) {
	t.Helper()
	type about struct{ Type, Help string }
	want, got := map[string]about{}, map[string]about{}
	for name, f := range exposed {
		if !strings.HasPrefix(name, "gatewarden_") {
			continue
		}
		// A counter's family is called without _total in OpenMetrics.
		if f.GetType() == dto.MetricType_COUNTER {
			name = strings.TrimSuffix(name, "_total")
		}
		if other, ok := want[name]; ok {
			t.Errorf("%s and another %s are one family in OpenMetrics", f.GetName(), other.Type)
		}
		want[name] = about{strings.ToLower(f.GetType().String()), f.GetHelp()}
	}
	for _, m := range s.target(job).ListMetadata() {
		name := m.MetricFamily
		if !strings.HasPrefix(name, "gatewarden_") {
			continue
		}
		if m.Type == model.MetricTypeCounter {
			name = strings.TrimSuffix(name, "_total")
		}
		got[name] = about{string(m.Type), m.Help}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("families (-exposed +scraped):\n%s", diff)
	}
}

// checkCounts compares what Prometheus says with what was posted.
func checkCounts(t *testing.T, s instant, job string, posted counts) {
	t.Helper()
	for name, c := range map[string]struct {
		by   string
		want map[string]float64
	}{
		fmt.Sprintf(`gatewarden_app_records_total{job=%q, source="httplog"}`, job):      {"fate", posted.fates},
		fmt.Sprintf(`gatewarden_store_records_total{job=%q}`, job):                      {"result", posted.fates},
		fmt.Sprintf(`gatewarden_httplog_requests_total{job=%q, source="httplog"}`, job): {"code", posted.requests},
		fmt.Sprintf(`gatewarden_httplog_records_rejected_total{job=%q}`, job):           {"", map[string]float64{"": posted.rejected}},
		fmt.Sprintf(`gatewarden_httplog_received_bytes_total{job=%q}`, job):             {"", map[string]float64{"": posted.bytes}},
		fmt.Sprintf(`gatewarden_httplog_decode_errors_total{job=%q}`, job):              {"", map[string]float64{"": 1}},
		fmt.Sprintf(`gatewarden_config_last_reload_successful{job=%q}`, job):            {"", map[string]float64{"": 1}},
		fmt.Sprintf(`max_over_time(gatewarden_store_records_total{job=%q}[1h])`, job):   {"result", posted.fates},
		fmt.Sprintf(`sum without (source) (gatewarden_app_records_total{job=%q})`, job): {"fate", posted.fates},
		fmt.Sprintf(`resets(gatewarden_store_records_total{job=%q}[1h])`, job):          {"result", map[string]float64{"counted": 0, "shed": 0, "duplicate": 0, "too_late": 0, "future": 0}},
	} {
		got := map[string]float64{}
		for _, sample := range s.query(t, "%s", name) {
			got[sample.Metric.Get(c.by)] += sample.F
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-posted +scraped):\n%s", name, diff)
		}
	}
	if got := s.value(t, `rate(gatewarden_store_records_total{job=%q, result="counted"}[1h])`, job); got <= 0 {
		t.Errorf("the rate of records is %v", got)
	}
}

// checkActions wants the guard's deeds counted: each step applied once.
func checkActions(t *testing.T, s instant, job string) {
	t.Helper()
	got := map[string]float64{}
	for _, sample := range s.query(t, `gatewarden_actions_call_duration_seconds_count{job=%q, call="apply"}`, job) {
		got[sample.Metric.Get("kind")] = sample.F
	}
	if diff := cmp.Diff(map[string]float64{"plugin": 1, "webhook": 1, "jenkins": 1}, got); diff != "" {
		t.Errorf("steps applied (-want +scraped):\n%s", diff)
	}
	for expr, want := range map[string]float64{
		`sum(gatewarden_notify_calls_total{job=%q, status="200"})`:                                    1,
		`gatewarden_jenkins_triggers_total{job=%q}`:                                                   1,
		`sum(gatewarden_kong_requests_total{job=%q, method=~"POST|PUT", status=~"200|201"}) > bool 0`: 1,
		`gatewarden_actions_in_place{job=%q, kind="plugin", status="applied"}`:                        1,
		`gatewarden_actions_lease_remaining_seconds{job=%q, policy="protect-orders"} > bool 0`:        1,
		`gatewarden_actions_ladders_active{job=%q}`:                                                   1,
	} {
		if got := s.value(t, expr, job); got != want {
			t.Errorf("%s is %v, want %v", fmt.Sprintf(expr, job), got, want)
		}
	}
}

// checkHistograms wants a median of each of the guard's histograms that has counted.
func checkHistograms(t *testing.T, s instant, job string, exposed map[string]*dto.MetricFamily) {
	t.Helper()
	histograms := 0
	for name, f := range exposed {
		if f.GetType() != dto.MetricType_HISTOGRAM || !strings.HasPrefix(name, "gatewarden_") || f.GetMetric()[0].GetHistogram().GetSampleCount() == 0 {
			continue
		}
		histograms++
		for _, sample := range s.query(t, `histogram_quantile(0.5, sum by (le) (%s_bucket{job=%q}))`, name, job) {
			if !(sample.F > 0) { // NaN is not
				t.Errorf("the median of %s is %v", name, sample.F)
			}
		}
		if job != "protobuf" {
			continue
		}
		native := s.query(t, `histogram_quantile(0.5, sum(%s{job=%q}))`, name, job)
		if len(native) != 1 || !(native[0].F > 0) {
			t.Errorf("the median of %s as a native histogram is %v", name, native)
		}
	}
	if histograms < 3 {
		t.Errorf("%d histograms have counted, want at least those of ticks, the journal and Kong", histograms)
	}
}
