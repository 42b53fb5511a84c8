package export

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Noted are the types of events that are worth an annotation: what was seen and done. That
// a source is silent is on the dashboard of the guard's health.
var Noted = []gatewarden.EventType{gatewarden.EventSLO, gatewarden.EventCanary, gatewarden.EventGate, gatewarden.EventAction}

// GrafanaConfig says where annotations go.
type GrafanaConfig struct {
	URL     string                 // "http://grafana:3000", with its path prefix
	Tags    []string               // besides "gatewarden" and the event's own
	Timeout time.Duration          // of one request; 10 s unless set
	Token   func() (string, error) // of a service account that may write annotations
	// Transport carries the requests; http.DefaultTransport when nil.
	Transport http.RoundTripper
}

// Grafana writes events as annotations of the organisation: dashboards show those with the
// tag gatewarden.
type Grafana struct {
	cfg    GrafanaConfig
	client *http.Client
}

var _ Target = (*Grafana)(nil)

// NewGrafana returns a target. It sends nothing yet.
func NewGrafana(cfg GrafanaConfig) *Grafana {
	cfg.URL = strings.TrimRight(cfg.URL, "/")
	client := &http.Client{
		Transport: cfg.Transport, Timeout: cmp.Or(cfg.Timeout, 10*time.Second),
		// A page to log in at takes no annotation: where it leads does not matter.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Grafana{cfg: cfg, client: client}
}

// annotation is what Grafana's HTTP API calls one.
type annotation struct {
	Time int64    `json:"time"` // Unix milliseconds
	Tags []string `json:"tags"`
	Text string   `json:"text"`
}

// seqTag begins the last line of an annotation's text, with the position of its event.
const seqTag = "gatewarden event "

// Mark asks for the newest annotation.
func (g *Grafana) Mark(ctx context.Context) (Mark, error) {
	list, err := g.find(ctx, url.Values{"limit": {"1"}})
	if err != nil || len(list) == 0 {
		return Mark{}, err
	}
	return list[0].mark(), nil
}

// mark returns the event that an annotation is of.
func (a *annotation) mark() Mark {
	_, number, _ := strings.Cut(a.Text, seqTag)
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return Mark{}
	}
	return Mark{Seq: seq, At: time.UnixMilli(a.Time)}
}

// find returns annotations of the guard, the newest first.
func (g *Grafana) find(ctx context.Context, query url.Values) ([]annotation, error) {
	query["tags"] = append([]string{"gatewarden"}, g.cfg.Tags...)
	query.Set("type", "annotation")
	text, err := g.call(ctx, http.MethodGet, "/api/annotations?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	var list []annotation
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "reading annotations of Grafana: %w", err).WithHint("is the URL that of Grafana itself?")
	}
	return list, nil
}

// Write adds an annotation for each event that has none.
func (g *Grafana) Write(ctx context.Context, events []gatewarden.Event) error {
	for i := range events {
		a := g.annotation(&events[i])
		// Only the first may be there already: after a failure all begins with Mark.
		if i == 0 {
			at := strconv.FormatInt(a.Time, 10)
			there, err := g.find(ctx, url.Values{"from": {at}, "to": {at}, "limit": {"100"}})
			if err != nil {
				return err
			}
			if slices.ContainsFunc(there, func(other annotation) bool { return other.Text == a.Text }) {
				continue
			}
		}
		body, err := json.Marshal(a)
		if err != nil {
			return gatewarden.Errorf(gatewarden.Internal, "writing event %d as an annotation: %w", events[i].Seq, err)
		}
		if _, err := g.call(ctx, http.MethodPost, "/api/annotations", body); err != nil {
			return err
		}
	}
	return nil
}

// annotation tells an event to whoever looks at a graph: what happened, why, what was
// changed.
func (g *Grafana) annotation(e *gatewarden.Event) annotation {
	lines := []string{e.Name + ": " + e.State, e.Reason}
	if e.Action != nil && e.Action.Change != "" && e.Action.Change != e.Reason {
		lines = append(lines, e.Action.Change)
	}
	if e.By != "" {
		lines = append(lines, "by "+e.By)
	}
	lines = slices.DeleteFunc(lines, func(line string) bool { return line == "" })
	for i, line := range lines {
		lines[i] = plain.Replace(line)
	}
	lines = append(lines, seqTag+strconv.FormatUint(e.Seq, 10))
	tags := append([]string{"gatewarden"}, g.cfg.Tags...)
	for _, tag := range []string{string(e.Type), e.Name, e.State, e.Severity} {
		if tag != "" && !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return annotation{Time: e.At.UnixMilli(), Tags: tags, Text: strings.Join(lines, "\n")}
}

// plain keeps what others have said from being taken for HTML.
var plain = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

const maxAnswer = 1 << 20

func (g *Grafana) call(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, g.cfg.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "asking Grafana: the URL is none").WithHint(`write "http://grafana:3000"`)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	if g.cfg.Token != nil {
		token, err := g.cfg.Token()
		if err != nil {
			return nil, gatewarden.Errorf(gatewarden.Unavailable, "reading the token for Grafana: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := g.client.Do(request)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "asking Grafana: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "reading the answer of Grafana: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		e := gatewarden.Errorf(gatewarden.Unavailable, "Grafana answered %s", response.Status)
		if response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden {
			return nil, e.WithHint("the token needs the permissions annotations:read and annotations:create for the organisation")
		}
		return nil, e
	}
	return text, nil
}
