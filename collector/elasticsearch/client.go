package elasticsearch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/olivere/elastic/v7"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// index asks Elasticsearch about the documents of an index pattern.
type index struct {
	client  *elastic.Client
	names   []string
	filter  elastic.Query // which documents; nil for all
	timeout time.Duration
	metrics *metrics
}

func newIndex(env collector.Env, settings Settings, m *metrics) (*index, error) {
	transport, err := newTransport(env, settings)
	if err != nil {
		return nil, err
	}
	// A simple client sends nothing by itself and starts when Elasticsearch is down.
	// NumberDecoder keeps long numbers, such as sort values in nanoseconds, exact.
	client, err := elastic.NewSimpleClient(
		elastic.SetURL(settings.nodes()...), elastic.SetHttpClient(&http.Client{Transport: transport}), elastic.SetDecoder(&elastic.NumberDecoder{}))
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: setting up the client: %w", err)
	}
	x := &index{client: client, timeout: time.Duration(settings.Timeout), metrics: m}
	for name := range strings.SplitSeq(settings.Index, ",") {
		x.names = append(x.names, strings.TrimSpace(name))
	}
	switch query := strings.TrimSpace(settings.Query); {
	case query == "":
	case strings.HasPrefix(query, "{"):
		x.filter = elastic.NewRawStringQuery(query)
	default:
		x.filter = elastic.NewQueryStringQuery(query)
	}
	return x, nil
}

// isObject reports whether text is a JSON object.
func isObject(text string) bool {
	var object map[string]json.RawMessage
	return json.Unmarshal([]byte(text), &object) == nil
}

// transport adds credentials to requests, and bounds answers.
type transport struct {
	next    http.RoundTripper
	user    string
	scheme  string // of the credentials; "" for none
	secret  func() (string, error)
	maxBody int64
}

func newTransport(env collector.Env, settings Settings) (*transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if settings.CAFile != "" {
		pem, err := os.ReadFile(env.Path(settings.CAFile))
		if err != nil {
			return nil, gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: reading ca_file: %w", err)
		}
		if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: ca_file %s has no certificate in PEM", settings.CAFile)
		}
	}
	if settings.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(env.Path(settings.CertFile), env.Path(settings.KeyFile))
		if err != nil {
			return nil, gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: reading cert_file and key_file: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	t := &transport{
		next: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		},
		user: settings.User, maxBody: int64(settings.MaxBody),
	}
	switch {
	case settings.APIKeyFile != "" || !settings.APIKey.IsZero():
		t.scheme, t.secret = "ApiKey", secretOf(settings.APIKey, env.Path(settings.APIKeyFile), settings.APIKeyFile != "")
	case settings.User != "":
		t.scheme, t.secret = "Basic", secretOf(settings.Password, env.Path(settings.PasswordFile), settings.PasswordFile != "")
	}
	return t, nil
}

// secretOf returns how to come by a secret. A file is read for each request, so that a new
// secret needs no restart.
func secretOf(value gatewarden.Secret, path string, fromFile bool) func() (string, error) {
	if !fromFile {
		return func() (string, error) { return value.Reveal(), nil }
	}
	return func() (string, error) {
		b, err := os.ReadFile(path)
		return strings.TrimSpace(string(b)), err
	}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.scheme != "" {
		secret, err := t.secret()
		if err != nil {
			return nil, fmt.Errorf("reading the credentials: %w", err)
		}
		r = r.Clone(r.Context())
		if t.scheme == "Basic" {
			r.SetBasicAuth(t.user, secret)
		} else {
			r.Header.Set("Authorization", t.scheme+" "+secret)
		}
	}
	response, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = &bounded{ReadCloser: response.Body, left: t.maxBody}
	return response, nil
}

// bounded is a body that fails beyond a length.
type bounded struct {
	io.ReadCloser
	left int64
}

var errTooLong = errors.New("the answer is longer than max_body")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// between selects the documents that have a field in [from, to), in Unix milliseconds. It is
// written out because the client's own range query is of a form that Elasticsearch 9 has
// dropped.
func between(f field, from, to int64) elastic.Query {
	return elastic.NewRawStringQuery(fmt.Sprintf(`{"range":{%q:{"gte":%d,"lt":%d%s}}}`, f.name, from, to, f.format()))
}

// where returns the query for documents that all of must hold for.
func (x *index) where(must ...elastic.Query) *elastic.BoolQuery {
	q := elastic.NewBoolQuery()
	if x.filter != nil {
		q.Filter(x.filter)
	}
	return q.Filter(must...)
}

// search asks, and returns an answer only when it is one of all shards.
func (x *index) search(ctx context.Context, body *elastic.SearchSource, paths ...string) (*elastic.SearchResult, error) {
	ctx, cancel := context.WithTimeout(ctx, x.timeout)
	defer cancel()
	defer prometheus.NewTimer(x.metrics.seconds).ObserveDuration()
	request := x.client.Search(x.names...).SearchSource(body).AllowPartialSearchResults(false).IgnoreUnavailable(true).AllowNoIndices(true)
	if len(paths) > 0 {
		request.FilterPath(append(paths, "took", "timed_out", "_shards", "_clusters")...)
	}
	answer, err := x.retryDead(ctx, request.Do)
	if err != nil {
		x.metrics.requests.WithLabelValues(outcomeFailed).Inc()
		return nil, refused(err)
	}
	if err := whole(answer); err != nil {
		x.metrics.requests.WithLabelValues(outcomePartial).Inc()
		return nil, err
	}
	x.metrics.requests.WithLabelValues(outcomeOK).Inc()
	return answer, nil
}

// retryDead calls do, and again when the client has sent nothing because its only node did
// not answer last time: it revives the node as it says so.
func (x *index) retryDead(ctx context.Context, do func(context.Context) (*elastic.SearchResult, error)) (*elastic.SearchResult, error) {
	answer, err := do(ctx)
	if err != nil && elastic.IsConnErr(err) {
		answer, err = do(ctx)
	}
	return answer, err
}

// whole returns an error when an answer lacks something. Status 200 does not say that it
// does not.
func whole(r *elastic.SearchResult) error {
	switch {
	case r.TimedOut:
		return gatewarden.Errorf(gatewarden.Unavailable, "the search timed out on some shards: not all data")
	case r.Shards == nil:
		return gatewarden.Errorf(gatewarden.Unavailable, "this is no answer to a search").WithHint("is url the address of Elasticsearch itself?")
	case r.Shards.Failed > 0:
		return gatewarden.Errorf(gatewarden.Unavailable, "%d of %d shards failed: not all data%s", r.Shards.Failed, r.Shards.Total, firstFailure(r.Shards))
	case r.Clusters != nil && r.Clusters.Skipped > 0:
		return gatewarden.Errorf(gatewarden.Unavailable, "%d of %d clusters were skipped: not all data", r.Clusters.Skipped, r.Clusters.Total)
	}
	return nil
}

func firstFailure(s *elastic.ShardsInfo) string {
	for _, f := range s.Failures {
		if f != nil && f.Reason != nil {
			return fmt.Sprintf("; %s: %v", f.Index, f.Reason["reason"])
		}
	}
	return ""
}

// refused gives an error of the client its code and hint.
func refused(err error) error {
	e := gatewarden.Errorf(gatewarden.Unavailable, "asking Elasticsearch: %w", err)
	var answer *elastic.Error
	if !errors.As(err, &answer) {
		return e
	}
	e.Message += rootCause(answer.Details)
	switch answer.Status {
	case http.StatusUnauthorized:
		return e.WithHint("give user and password_file, or api_key_file")
	case http.StatusForbidden:
		return e.WithHint("the user needs the privileges read and view_index_metadata on the index")
	case http.StatusNotFound:
		e.Code = gatewarden.NotFound
		return e.WithHint("index names what there is not; is the path prefix in url right?")
	case http.StatusBadRequest:
		e.Code = gatewarden.Invalid
	}
	return e
}

// rootCause returns what the shards said, which the client's own error leaves out.
func rootCause(d *elastic.ErrorDetails) string {
	if d == nil {
		return ""
	}
	for _, cause := range d.RootCause {
		if cause != nil && cause.Reason != "" && cause.Reason != d.Reason {
			return ": " + cause.Reason
		}
	}
	return ""
}
