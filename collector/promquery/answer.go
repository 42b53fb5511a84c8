package promquery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// problem is why a question has no answer that counts.
type problem struct {
	outcome string        // of the metric
	after   time.Duration // how long the server wants to be left alone; 0 when it does not say
	err     *gatewarden.Error
}

func (p *problem) Error() string { return p.err.Error() }
func (p *problem) Unwrap() error { return p.err }

func failure(format string, args ...any) *problem {
	return &problem{outcome: failed, err: gatewarden.Errorf(gatewarden.Unavailable, format, args...)}
}

func refusal(format string, args ...any) *problem {
	return &problem{outcome: refused, err: gatewarden.Errorf(gatewarden.Invalid, format, args...)}
}

func (p *problem) hint(format string, args ...any) *problem {
	p.err = p.err.WithHint(format, args...)
	return p
}

// line is the one series that an expression may give: its numbers by Unix time. Without
// any it is empty.
type line struct {
	bare   bool // a metric as it was scraped, and not something computed
	points map[int64]float64
}

// envelope is what every answer of the API is in.
type envelope struct {
	Status    string   `json:"status"`
	ErrorType string   `json:"errorType"`
	Error     string   `json:"error"`
	Warnings  []string `json:"warnings"`
	IsPartial bool     `json:"isPartial"` // VictoriaMetrics
	Data      struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	} `json:"data"`
}

// series is one of a matrix.
type series struct {
	Metric     map[string]string `json:"metric"`
	Values     []point           `json:"values"`
	Histograms []json.RawMessage `json:"histograms"`
}

// point is [1795294169.921, "0.1"].
type point struct {
	at    float64
	value float64
}

// UnmarshalJSON reads a pair of a time and a number in quotes.
func (p *point) UnmarshalJSON(b []byte) error {
	var pair []json.RawMessage
	var text string
	if err := json.Unmarshal(b, &pair); err != nil || len(pair) != 2 {
		return fmt.Errorf("%.40q is no pair of a time and a value", b)
	}
	if err := json.Unmarshal(pair[0], &p.at); err != nil {
		return fmt.Errorf("%.40q is no time", pair[0])
	}
	if err := json.Unmarshal(pair[1], &text); err != nil {
		return fmt.Errorf("%.40q is no value", pair[1])
	}
	v, err := strconv.ParseFloat(text, 64)
	p.value = v
	if err != nil {
		return fmt.Errorf("%.40q is no number", text)
	}
	return nil
}

// readAnswer reads the answer to a range query. status and header are those of the
// response, whose body is at most limit bytes long.
func readAnswer(status int, header http.Header, body io.Reader, limit int64) (line, error) {
	e, err := readEnvelope(status, header, body, limit)
	if err != nil {
		return line{}, err
	}
	if e.Data.ResultType != "matrix" {
		return line{}, failure("the answer is a %.40q and no matrix", e.Data.ResultType)
	}
	var matrix []series
	if err := json.Unmarshal(e.Data.Result, &matrix); err != nil {
		return line{}, failure("the answer cannot be read: %w", err)
	}
	return lineOf(matrix)
}

// readEnvelope reads what is around an answer, and finds out whether it is one.
func readEnvelope(status int, header http.Header, body io.Reader, limit int64) (envelope, error) {
	var e envelope
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return e, failure("reading the answer: %w", err)
	}
	if int64(len(data)) > limit {
		return e, failure("the answer has more than max_body").hint("sum over labels, or set max_body higher")
	}
	if err := json.Unmarshal(data, &e); err != nil || e.Status == "" {
		return e, notTheAPI(status, header, data)
	}
	switch {
	case status != http.StatusOK || e.Status != "success":
		return e, declined(status, header, &e)
	case e.IsPartial:
		return e, &problem{outcome: partial, err: gatewarden.Errorf(gatewarden.Unavailable, "the answer is not all data: it says isPartial")}
	}
	for _, w := range e.Warnings {
		// Prometheus' remarks on the query itself; they come with all data.
		if !strings.HasPrefix(w, "PromQL warning:") && !strings.HasPrefix(w, "PromQL info:") {
			return e, &problem{outcome: partial, err: gatewarden.Errorf(gatewarden.Unavailable, "the answer is not all data: %.200q", w)}
		}
	}
	return e, nil
}

// notTheAPI explains an answer that is not in the API's envelope.
func notTheAPI(status int, header http.Header, data []byte) error {
	const hint = "url must lead to what stands before /api/v1"
	text := bytes.TrimSpace(data)
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return unauthorized(status)
	case status == http.StatusTooManyRequests || status >= 500:
		return &problem{outcome: failed, after: retryAfter(header), err: gatewarden.Errorf(gatewarden.Unavailable, "the answer is %s", statusText(status))}
	case status >= 300 && status < 400:
		return failure("the answer is %s, to somewhere else", statusText(status)).hint("%s; a page to log in at is no answer", hint)
	case bytes.HasPrefix(text, []byte("<")):
		return failure("the answer is a web page (%s), not the query API", statusText(status)).hint(hint)
	case status != http.StatusOK:
		return failure("the answer is %s", statusText(status)).hint(hint)
	default:
		return failure("the answer is not JSON of the query API").hint(hint)
	}
}

// declined explains an answer that is an error of the API.
func declined(status int, header http.Header, e *envelope) error {
	why := fmt.Sprintf("%s: %.300s", e.ErrorType, e.Error)
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return unauthorized(status)
	case e.ErrorType == "bad_data" || e.ErrorType == "execution" || status == http.StatusBadRequest || status == http.StatusUnprocessableEntity:
		return refusal("the server refuses the query: %s", why)
	default:
		return &problem{outcome: failed, after: retryAfter(header), err: gatewarden.Errorf(gatewarden.Unavailable, "the server has no answer: %s", why)}
	}
}

func unauthorized(status int) error {
	return failure("the answer is %s", statusText(status)).hint("user and password_file, token_file, tenant and headers say who asks")
}

func statusText(status int) string { return fmt.Sprintf("%d %s", status, http.StatusText(status)) }

// retryAfter reads how many seconds the server wants to be left alone.
func retryAfter(header http.Header) time.Duration {
	n, err := strconv.Atoi(header.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(min(n, 3600))*time.Second, lastPause)
}

// lineOf returns the one series of a matrix. None is an empty line, several are refused.
func lineOf(matrix []series) (line, error) {
	if len(matrix) > 1 {
		return line{}, refusal("it gives %d series and must give one, such as %s and %s", len(matrix), labels(matrix[0].Metric), labels(matrix[1].Metric)).
			hint("put sum(...) around it")
	}
	l := line{points: map[int64]float64{}}
	if len(matrix) == 0 {
		return l, nil
	}
	if len(matrix[0].Histograms) > 0 {
		return line{}, refusal("it gives native histograms and must give numbers").hint("put histogram_count(...) around it")
	}
	l.bare = matrix[0].Metric["__name__"] != ""
	for _, p := range matrix[0].Values {
		if at := math.Round(p.at*1000) / 1000; at == math.Trunc(at) && math.Abs(at) < 1<<40 {
			l.points[int64(at)] = p.value
		}
	}
	return l, nil
}

// labels writes a label set as PromQL does, shortened.
func labels(metric map[string]string) string {
	names := make([]string, 0, len(metric))
	for name := range metric {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteByte('{')
	for i, name := range names {
		if i > 0 {
			b.WriteByte(',')
		}
		if i == 4 {
			b.WriteString("...")
			break
		}
		fmt.Fprintf(&b, "%.40s=%.40q", name, metric[name])
	}
	b.WriteByte('}')
	return b.String()
}
