package kongmetrics

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/gatewarden/gatewarden"
)

// accept is what is asked for: protobuf is the cheapest to read, and text is what Kong
// has.
const accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7," +
	"application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

// requestKey are the labels of kong_http_requests_total that matter here.
type requestKey struct {
	routeKey
	consumer string
	code     int
	origin   gatewarden.Origin
}

// routeKey are the labels of the latency histograms.
type routeKey struct{ workspace, service, route string }

// The latencies that Kong has histograms of.
const (
	ofRequest = iota
	ofUpstream
	ofKong
	latencies
)

var latencyNames = [latencies]string{"kong_request_latency_ms", "kong_upstream_latency_ms", "kong_kong_latency_ms"}

// bound is the upper one of a bucket, in milliseconds; infinite for the last.
type bound float64

// bucketKey is a bucket of a histogram.
type bucketKey struct {
	routeKey
	of int
	le bound
}

// exposition is what a node said at one look.
type exposition struct {
	id, version string
	counts
	datastore *bool
	targets   []gatewarden.TargetHealth
	planes    map[string]*gatewarden.DataPlane
}

// reader reads expositions.
type reader struct {
	maxBody   int64
	maxSeries int
	latencies bool // whether histograms are wanted
}

// maxLine bounds one line of a text, and so what is held while it is filtered.
const maxLine = 64 << 10

// read reads the exposition in a body of the given Content-Type.
func (r reader) read(contentType string, body io.Reader) (*exposition, error) {
	limited := &io.LimitedReader{R: body, N: r.maxBody + 1}
	samples, err := r.samples(contentType, limited)
	switch {
	case limited.N <= 0:
		return nil, gatewarden.Errorf(gatewarden.Invalid, "the answer has more than max_body (%d bytes)", r.maxBody)
	case err != nil:
		return nil, err
	}
	e := &exposition{
		counts: counts{requests: map[requestKey]float64{}, buckets: map[bucketKey]float64{}, others: map[string]float64{}},
		planes: map[string]*gatewarden.DataPlane{},
	}
	for _, s := range samples {
		if err := e.add(s); err != nil {
			return nil, err
		}
	}
	if n := len(e.requests) + len(e.buckets) + len(e.targets) + len(e.planes); n > r.maxSeries {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "the node has %d series, max_series is %d", n, r.maxSeries).
			WithHint("per_consumer of Kong's prometheus plugin makes many; raise max_series if they are meant")
	}
	if e.id == "" && len(e.requests)+len(e.others) == 0 {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "there is no metric of Kong's in the answer").
			WithHint("the address must be Kong's own /metrics, and the prometheus plugin be enabled")
	}
	return e, nil
}

// samples returns those of the metrics that are wanted.
func (r reader) samples(contentType string, body io.Reader) (model.Vector, error) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		media = contentType
	}
	format := expfmt.ResponseFormat(map[string][]string{"Content-Type": {contentType}})
	switch {
	case media == expfmt.OpenMetricsType && !strings.HasPrefix(params["version"], "2"):
	case format.FormatType() == expfmt.TypeTextPlain:
	case format.FormatType() == expfmt.TypeProtoDelim:
		return r.delimited(body)
	default:
		return nil, gatewarden.Errorf(gatewarden.Invalid, "the answer is %q, which is no format of metrics", media).
			WithHint("is the address Kong's own /metrics, and nothing between that answers with a page?")
	}
	var wanted bytes.Buffer
	ended, err := r.filter(&wanted, body)
	if err != nil {
		return nil, err
	}
	if media == expfmt.OpenMetricsType && !ended {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "the answer is cut: OpenMetrics ends with # EOF")
	}
	return decode(&wanted, expfmt.FmtText)
}

// delimited reads protocol buffers. Each says how long it is, and the decoder believes
// it: what is longer than the answer is found before.
func (r reader) delimited(body io.Reader) (model.Vector, error) {
	all, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	for rest := all; len(rest) > 0; {
		length, n := binary.Uvarint(rest)
		if n <= 0 || length > uint64(len(rest)-n) {
			return nil, gatewarden.Errorf(gatewarden.Invalid, "the answer is cut or broken: a protocol buffer is longer than what is there")
		}
		rest = rest[n+int(length):]
	}
	return decode(bytes.NewReader(all), expfmt.FmtProtoDelim)
}

// decode reads all samples that there are.
func decode(from io.Reader, format expfmt.Format) (model.Vector, error) {
	var all model.Vector
	for decoder := expfmt.NewDecoder(from, format); ; {
		var family dto.MetricFamily
		switch err := decoder.Decode(&family); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, gatewarden.Errorf(gatewarden.Invalid, "the answer is no valid exposition: %w", err)
		}
		if !strings.HasPrefix(family.GetName(), "kong_") {
			continue
		}
		samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{}, &family)
		if err != nil {
			return nil, gatewarden.Errorf(gatewarden.Invalid, "%s is no valid family of metrics: %w", family.GetName(), err)
		}
		all = append(all, samples...)
	}
}

// wants reports whether a sample of this name is looked at.
func (r reader) wants(name []byte) bool {
	if !bytes.HasPrefix(name, []byte("kong_")) {
		return false
	}
	switch s := string(name); s {
	case "kong_http_requests_total", "kong_nginx_requests_total", "kong_node_info", "kong_datastore_reachable",
		"kong_upstream_target_health", "kong_data_plane_config_hash", "kong_data_plane_last_seen":
		return true
	default:
		metric, ok := strings.CutSuffix(s, "_bucket")
		return ok && r.latencies && (metric == latencyNames[ofRequest] || metric == latencyNames[ofUpstream] || metric == latencyNames[ofKong])
	}
}

// filter copies the samples that are wanted, without comments, timestamps and exemplars:
// a node has thousands of others, and reading those is most of the work. What is left
// means the same in the old text format and in OpenMetrics. It reports whether the last
// line was OpenMetrics' mark of the end.
func (r reader) filter(to *bytes.Buffer, from io.Reader) (ended bool, err error) {
	lines := bufio.NewReaderSize(from, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF) && len(bytes.TrimSpace(line)) == 0:
			return ended, nil
		case errors.Is(err, io.EOF):
			return false, gatewarden.Errorf(gatewarden.Invalid, "the answer is cut: its last line has no end")
		case errors.Is(err, bufio.ErrBufferFull):
			return false, gatewarden.Errorf(gatewarden.Invalid, "the answer has a line of more than %d bytes, which is none of Kong's", maxLine)
		case err != nil:
			return false, fmt.Errorf("reading the answer: %w", err)
		}
		ended = string(line) == "# EOF\n"
		name := line[:max(bytes.IndexAny(line, "{ \t"), 0)]
		if !r.wants(name) {
			continue
		}
		labels := endOfLabels(line, len(name))
		fields := bytes.Fields(line[labels:])
		if len(fields) == 0 {
			return false, gatewarden.Errorf(gatewarden.Invalid, "a line of %s has no value", name)
		}
		to.Write(line[:labels])
		to.WriteByte(' ')
		to.Write(fields[0])
		to.WriteByte('\n')
	}
}

// endOfLabels returns where the labels end that begin at i, if any do.
func endOfLabels(line []byte, i int) int {
	if line[i] != '{' {
		return i
	}
	quoted := false
	for ; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '}' && !quoted:
			return i + 1
		}
	}
	return len(line)
}

// add takes a sample in. Values that no counter has are an error: the exposition cannot
// be trusted.
func (e *exposition) add(s *model.Sample) error {
	label := func(name model.LabelName) string { return string(s.Metric[name]) }
	value, name := float64(s.Value), label(model.MetricNameLabel)
	switch name {
	case "kong_node_info":
		e.id, e.version = label("node_id"), label("version")
	case "kong_datastore_reachable":
		reachable := value != 0
		e.datastore = &reachable
	case "kong_upstream_target_health":
		if value == 1 {
			e.targets = append(e.targets, gatewarden.TargetHealth{Upstream: label("upstream"), Target: label("target"), Address: label("address"), State: label("state")})
		}
	case "kong_data_plane_config_hash":
		e.plane(s.Metric).ConfigHash = strconv.FormatFloat(value, 'g', -1, 64)
	case "kong_data_plane_last_seen":
		if value > 0 && value < maxCount {
			e.plane(s.Metric).Seen = time.Unix(int64(value), 0).UTC()
		}
	default:
		return e.count(name, label, value)
	}
	return nil
}

// maxCount is the highest count that a float64 holds exactly.
const maxCount = 1 << 53

// count takes a counter in.
func (e *exposition) count(name string, label func(model.LabelName) string, value float64) error {
	if !(value >= 0 && value <= maxCount) { // NaN is neither
		return gatewarden.Errorf(gatewarden.Invalid, "%s is %v, which is no count", name, value)
	}
	route := routeKey{label("workspace"), label("service"), label("route")}
	switch name {
	case "kong_http_requests_total":
		code, err := strconv.Atoi(label("code"))
		if err != nil {
			return gatewarden.Errorf(gatewarden.Invalid, "%s has the code %q, which is no status", name, label("code"))
		}
		e.requests[requestKey{route, label("consumer"), code, originOf(label("source"))}] += value
	case "kong_nginx_requests_total":
		e.others[name+label("subsystem")] += value
	default:
		for of, metric := range latencyNames {
			if name != metric+"_bucket" {
				continue
			}
			le, err := strconv.ParseFloat(label("le"), 64)
			if err != nil || math.IsNaN(le) || le < 0 {
				return gatewarden.Errorf(gatewarden.Invalid, "%s has a bucket up to %q", name, label("le"))
			}
			e.buckets[bucketKey{route, of, bound(le)}] += value
		}
	}
	return nil
}

func originOf(source string) gatewarden.Origin {
	switch source {
	case "service":
		return gatewarden.OriginUpstream
	case "kong":
		return gatewarden.OriginKong
	default:
		return gatewarden.OriginUnknown
	}
}

// plane returns the data plane that the labels name.
func (e *exposition) plane(labels model.Metric) *gatewarden.DataPlane {
	id := string(labels["node_id"])
	if e.planes[id] == nil {
		e.planes[id] = &gatewarden.DataPlane{ID: id, Hostname: string(labels["hostname"]), IP: string(labels["ip"])}
	}
	return e.planes[id]
}
