package kongmetrics

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/gatewarden/gatewarden"
)

const kongsType = "text/plain; charset=UTF-8" // as Kong sends it

func everything() reader { return reader{maxBody: 1 << 20, maxSeries: 10_000, latencies: true} }

func captured(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func mustRead(t testing.TB, text string) *exposition {
	t.Helper()
	e, err := everything().read(kongsType, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestWhatARealKongSays(t *testing.T) {
	e := mustRead(t, captured(t, "metrics-1.txt"))
	if e.id != "e312bd35-eae3-4e35-910c-74f4229f049c" || e.version != "3.9.1" || e.datastore == nil || !*e.datastore {
		t.Errorf("it is read as %q %q %v", e.id, e.version, e.datastore)
	}
	orders := routeKey{"default", "orders", "orders-route"}
	if n := e.requests[requestKey{orders, "", 200, gatewarden.OriginUpstream}]; n != 128 {
		t.Errorf("%v requests to orders with 200", n)
	}
	if n := e.requests[requestKey{routeKey{"default", "payments", "payments-route"}, "zoë", 502, gatewarden.OriginUpstream}]; n != 1 {
		t.Errorf("%v requests of zoë with 502", n)
	}
	states := map[string]int{}
	for _, target := range e.targets {
		states[target.State]++
	}
	if diff := cmp.Diff(map[string]int{gatewarden.TargetHealthy: 1, gatewarden.TargetUnhealthy: 1, gatewarden.TargetUnchecked: 5}, states); diff != "" {
		t.Errorf("targets by state (-want +got)\n%s", diff)
	}
}

func TestWhatControlPlanesSay(t *testing.T) {
	e := mustRead(t, `kong_node_info{node_id="cp",version="3.9.1"} 1
kong_data_plane_config_hash{node_id="dp-1",hostname="kong-dp-1",ip="10.0.0.5"} 1.9187163917391e+38
kong_data_plane_last_seen{node_id="dp-1",hostname="kong-dp-1",ip="10.0.0.5"} 1795293600
kong_datastore_reachable 0
`)
	want := map[string]*gatewarden.DataPlane{"dp-1": {
		ID: "dp-1", Hostname: "kong-dp-1", IP: "10.0.0.5", Seen: time.Unix(1795293600, 0).UTC(), ConfigHash: "1.9187163917391e+38",
	}}
	if diff := cmp.Diff(want, e.planes); diff != "" {
		t.Error(diff)
	}
	if e.datastore == nil || *e.datastore {
		t.Error("its datastore is not said to be away")
	}
}

// encoded returns a text in another format, as the prometheus libraries write it.
func encoded(t *testing.T, text string, format expfmt.Format) string {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	encoder := expfmt.NewEncoder(&out, format)
	for _, name := range slices.Sorted(maps.Keys(families)) {
		f := families[name]
		if f.GetType() == dto.MetricType_COUNTER && strings.HasPrefix(string(format), expfmt.OpenMetricsType) {
			for _, m := range f.GetMetric() { // what makes OpenMetrics another format
				name, value := "trace_id", "f3ab { # }\" x"
				m.Counter.Exemplar = &dto.Exemplar{Value: m.Counter.Value, Label: []*dto.LabelPair{{Name: &name, Value: &value}}}
				at := int64(1795293600123)
				m.TimestampMs = &at
			}
		}
		if err := encoder.Encode(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := encoder.(io.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestEveryFormatSaysTheSame(t *testing.T) {
	text := captured(t, "metrics-1.txt")
	want := mustRead(t, text)
	for _, format := range []expfmt.Format{expfmt.FmtText, expfmt.FmtOpenMetrics_0_0_1, expfmt.FmtOpenMetrics_1_0_0, expfmt.FmtProtoDelim} {
		t.Run(string(format), func(t *testing.T) {
			body := encoded(t, text, format)
			got, err := everything().read(string(format), strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			sortTargets(want)
			sortTargets(got)
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(exposition{}, counts{}, requestKey{}, routeKey{}, bucketKey{})); diff != "" {
				t.Error(diff)
			}
			for _, cut := range []int{len(body) / 3, len(body)/2 + 1} {
				// Where a line ends, only OpenMetrics knows that more must come.
				for format.FormatType() == expfmt.TypeTextPlain && body[cut-1] == '\n' {
					cut--
				}
				if _, err := everything().read(string(format), strings.NewReader(body[:cut])); err == nil {
					t.Errorf("cut after %d bytes of %d it is taken for whole", cut, len(body))
				}
			}
		})
	}
}

func sortTargets(e *exposition) { e.targets = (&node{}).describe(e, time.Time{}).Targets }

func TestWhatIsNoExposition(t *testing.T) {
	const page = "<html>\n<body>kong_node_info{} 1</body>\n</html>\n"
	cases := map[string]struct{ contentType, body, want string }{
		"a page":                           {"text/html", page, "which is no format of metrics"},
		"a page that says it is text":      {"text/plain", page, "no metric of Kong's"},
		"JSON":                             {"application/json", `{"message":"no"}`, "which is no format of metrics"},
		"nothing":                          {kongsType, "", "no metric of Kong's"},
		"no type":                          {"", "kong_node_info 1\n", "which is no format of metrics"},
		"somebody else's metrics":          {kongsType, "go_goroutines 5\n", "no metric of Kong's"},
		"a line without an end":            {kongsType, "kong_datastore_reachable 1\nkong_http_requests_total{code=\"200\"} 12", "its last line has no end"},
		"a line without a value":           {kongsType, "kong_http_requests_total{code=\"200\"}\n", "has no value"},
		"a line without end":               {kongsType, "kong_http_requests_total{service=\"" + strings.Repeat("x", 2*maxLine), "line of more than"},
		"labels that are none":             {kongsType, "kong_http_requests_total{code=\"200} 1\n", "has no value"},
		"labels that are broken":           {kongsType, "kong_http_requests_total{code=200} 1\n", "no valid exposition"},
		"OpenMetrics without its end":      {string(expfmt.FmtOpenMetrics_1_0_0), "kong_node_info{node_id=\"a\"} 1\n", "OpenMetrics ends with # EOF"},
		"a code that is none":              {kongsType, "kong_http_requests_total{code=\"OK\"} 1\n", "which is no status"},
		"a count below zero":               {kongsType, "kong_http_requests_total{code=\"200\"} -1\n", "which is no count"},
		"a count that is no number":        {kongsType, "kong_http_requests_total{code=\"200\"} NaN\n", "which is no count"},
		"a count without end":              {kongsType, "kong_http_requests_total{code=\"200\"} +Inf\n", "which is no count"},
		"a bucket that is none":            {kongsType, "kong_request_latency_ms_bucket{le=\"fast\"} 1\n", "has a bucket up to"},
		"more than is read":                {kongsType, strings.Repeat("# nothing at all\n", 1<<17), "more than max_body"},
		"a protocol buffer without end":    {string(expfmt.FmtProtoDelim), "\xff\xff\xff\xff\x7f", "cut or broken"},
		"a protocol buffer that is broken": {string(expfmt.FmtProtoDelim), "\x03abc", "no valid exposition"},
		"OpenMetrics of the future":        {"application/openmetrics-text; version=2.0.0", "kong_node_info 1\n", "which is no format of metrics"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e, err := everything().read(c.contentType, strings.NewReader(c.body))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("read as %+v, %v; want an error with %q", e, err, c.want)
			}
		})
	}
}

func TestTooManySeriesAreRefused(t *testing.T) {
	var text strings.Builder
	for i := range 200 {
		fmt.Fprintf(&text, "kong_http_requests_total{code=\"200\",consumer=\"c%d\"} 1\n", i)
	}
	r := everything()
	r.maxSeries = 100
	if _, err := r.read(kongsType, strings.NewReader(text.String())); err == nil || !strings.Contains(err.Error(), "max_series is 100") {
		t.Errorf("%v", err)
	}
}

// Whatever a node says: no panic, and what is read holds together.
func FuzzRead(f *testing.F) {
	types := []string{kongsType, string(expfmt.FmtOpenMetrics_1_0_0), string(expfmt.FmtProtoDelim), "text/html", ""}
	whole := captured(f, "metrics-1.txt")
	f.Add(0, whole[:8000])
	f.Add(0, "kong_node_info{node_id=\"a\",version=\"3.9.1\"} 1\nkong_http_requests_total{service=\"a\",route=\"b\",code=\"200\",source=\"kong\"} 5\n")
	f.Add(1, "kong_http_requests_total{code=\"200\"} 5 1.5 # {trace_id=\"x\"} 1\n# EOF\n")
	f.Add(2, "\x03abc")
	f.Fuzz(func(t *testing.T, kind int, body string) {
		e, err := everything().read(types[uint(kind)%uint(len(types))], strings.NewReader(body))
		if err != nil {
			return
		}
		at := time.Unix(1795293600, 0)
		g, err := e.since(&counters{at: at.Add(-time.Second)}, at)
		if err != nil {
			return
		}
		sum := uint64(0)
		for _, r := range g.records() {
			sum += uint64(r.Weight)
		}
		want := uint64(0)
		for _, n := range g.requests {
			want += n
		}
		if sum != want {
			t.Errorf("records of %d requests, counted were %d", sum, want)
		}
	})
}
