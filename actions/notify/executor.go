package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
)

var _ actions.Executor = (*Executor)(nil)

const (
	defaultTimeout = 10 * time.Second
	maxAnswer      = 64 << 10 // read of an answer, so that its connection can be used again
	maxExcerpt     = 500      // shown of one that says no
	maxFile        = 64 << 10 // of a secret
	maxRedirects   = 5
)

// Config is what an Executor is made of. Everything has a default.
type Config struct {
	// HTTPClient carries the requests; its redirect policy and cookie jar are not
	// used. http.DefaultTransport when nil.
	HTTPClient *http.Client
	ReadFile   func(name string) ([]byte, error) // os.ReadFile when nil
	Now        func() time.Time                  // for the end of alerts; time.Now when nil
	Registerer prometheus.Registerer             // not registered when nil
}

// Executor calls webhooks, channels and Alertmanagers. It keeps nothing of an action and is safe for
// concurrent use.
type Executor struct {
	http     *http.Client
	readFile func(string) ([]byte, error)
	now      func() time.Time
	logger   *slog.Logger
	metrics  *metrics
}

// New returns an executor.
func New(cfg Config, logger *slog.Logger) *Executor {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	hc := &http.Client{Transport: http.DefaultTransport}
	if cfg.HTTPClient != nil {
		*hc = *cfg.HTTPClient
	}
	hc.Jar = nil
	hc.CheckRedirect = sameHost
	if cfg.ReadFile == nil {
		cfg.ReadFile = os.ReadFile
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Executor{http: hc, readFile: cfg.ReadFile, now: cfg.Now, logger: logger, metrics: newMetrics(cfg.Registerer)}
}

// sameHost follows redirects only to the same scheme and host: a webhook's URL
// and headers are secrets of the one who issued them.
func sameHost(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects || req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme || req.Method != via[0].Method {
		return http.ErrUseLastResponse
	}
	return nil
}

// call is a step with its secrets read, ready to be made.
type call struct {
	method  string
	url     *url.URL
	header  http.Header
	timeout time.Duration
	secrets []string
}

// prepare reads the step's files and checks what can be checked without calling.
func (e *Executor) prepare(step *gatewarden.WebhookStep) (*call, error) {
	if step == nil {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "the step is not a webhook")
	}
	c := &call{method: strings.ToUpper(cmp.Or(step.Method, http.MethodPost)), timeout: cmp.Or(time.Duration(step.Timeout), defaultTimeout), header: http.Header{}}
	address := step.URL
	if step.URLFile != "" {
		if address != "" {
			return nil, gatewarden.Errorf(gatewarden.Invalid, "the webhook has both url and url_file").WithHint("leave one out")
		}
		var err error
		if address, err = e.secret("url_file", step.URLFile); err != nil {
			return nil, err
		}
	}
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "the webhook's URL is not an http or https URL").WithHint("set url or url_file")
	}
	if !isToken(c.method) {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "the webhook's method %q is none", step.Method).WithHint("leave it out for POST")
	}
	c.url = u
	c.secrets = append(c.secrets, secretsOf(u, step.URLFile != "")...)
	for name, value := range step.Headers {
		if !isToken(name) || strings.ContainsFunc(value, unicode.IsControl) {
			return nil, gatewarden.Errorf(gatewarden.Invalid, "the webhook's header %q cannot be sent", name).
				WithHint("a name is letters, digits and dashes; a value is one line")
		}
		c.header.Set(name, value)
		c.secrets = append(c.secrets, value)
	}
	if step.BearerTokenFile != "" {
		token, err := e.secret("bearer_token_file", step.BearerTokenFile)
		if err != nil {
			return nil, err
		}
		c.header.Set("Authorization", "Bearer "+token)
		c.secrets = append(c.secrets, token)
	}
	return c, nil
}

func isToken(name string) bool {
	return name != "" && strings.IndexFunc(name, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && r != '-' && r != '_'
	}) < 0
}

// secret reads a file that holds one, anew for each call, so that it can be
// changed while the guard runs.
func (e *Executor) secret(key, name string) (string, error) {
	b, err := e.readFile(name)
	if err != nil {
		return "", gatewarden.Errorf(gatewarden.Invalid, "reading the webhook's %s: %w", key, err).WithHint("can the guard's user read it?")
	}
	text := strings.TrimSpace(string(b))
	if text == "" || len(b) > maxFile || strings.ContainsFunc(text, unicode.IsControl) {
		return "", gatewarden.Errorf(gatewarden.Invalid, "the webhook's %s %s holds no single line of text", key, name)
	}
	return text, nil
}

// secretsOf returns the parts of a URL that nobody else may see. Of one that comes
// from a file, such as a chat's incoming webhook, the path is the secret.
func secretsOf(u *url.URL, fromFile bool) []string {
	var out []string
	if p, ok := u.User.Password(); ok {
		out = append(out, p)
	}
	if name := u.User.Username(); name != "" {
		out = append(out, name)
	}
	if fromFile && len(u.EscapedPath()) > 1 {
		out = append(out, u.EscapedPath(), strings.Trim(u.EscapedPath(), "/"))
	}
	return append(out, u.RawQuery)
}

// where names the webhook without its secrets.
func (c *call) where() string { return c.url.Scheme + "://" + c.url.Host }

// redact takes the secrets out of a text. Very short ones are no secrets, and
// cutting them out would make every text unreadable.
func (c *call) redact(text string) string {
	for _, s := range c.secrets {
		if len(s) >= 6 {
			text = strings.ReplaceAll(text, s, "<secret>")
		}
	}
	return text
}

// Preflight checks the step without calling anybody: the URL, and that its files
// can be read. Errors are Invalid.
func (e *Executor) Preflight(_ context.Context, step gatewarden.Step) error {
	_, err := e.prepare(webhookOf(&step))
	return err
}

// Prepare is Preflight; there is nothing to remember.
func (e *Executor) Prepare(ctx context.Context, a gatewarden.Action) (json.RawMessage, error) {
	return nil, e.Preflight(ctx, a.Spec)
}

// webhookOf returns the call that a step comes to, nil when it is none.
func webhookOf(s *gatewarden.Step) *gatewarden.WebhookStep {
	switch {
	case s.Slack != nil:
		return &gatewarden.WebhookStep{URL: s.Slack.URL, URLFile: s.Slack.URLFile, Timeout: s.Slack.Timeout}
	case s.Alertmanager != nil:
		return &gatewarden.WebhookStep{
			URL:             strings.TrimRight(s.Alertmanager.URL, "/") + "/api/v2/alerts",
			BearerTokenFile: s.Alertmanager.BearerTokenFile, Timeout: s.Alertmanager.Timeout,
		}
	default:
		return s.Webhook
	}
}

// Apply makes the call. A 2xx is applied. Errors: Unavailable, to be tried again,
// for 408, 425, 429, 5xx and when there was no answer; Invalid when the step must
// be put right. Every other answer is a failed outcome with what the receiver said.
func (e *Executor) Apply(ctx context.Context, a gatewarden.Action, _ func(json.RawMessage) error) (gatewarden.Outcome, error) {
	switch a.Spec.Kind {
	case gatewarden.StepSlack:
		return e.slack(ctx, a)
	case gatewarden.StepAlertmanager:
		out, err := e.alertmanager(ctx, a, a.LeaseUntil)
		out.Undo = e.endByHand(a)
		return out, err
	default:
		message, err := body(a)
		if err != nil {
			return gatewarden.Outcome{}, err
		}
		return e.send(ctx, a, "the webhook", message)
	}
}

// send makes the call of a step; who is how people call whom it goes to.
func (e *Executor) send(ctx context.Context, a gatewarden.Action, who string, message []byte) (gatewarden.Outcome, error) {
	c, err := e.prepare(webhookOf(&a.Spec))
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	status, excerpt, err := e.do(ctx, a.ID, c, message)
	e.metrics.call(status)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	e.logger.Info("a call was answered", "action", a.ID, "to", c.where(), "status", status)
	said := fmt.Sprintf("%s at %s answered %d", who, c.where(), status)
	switch {
	case status >= 200 && status < 300:
		return gatewarden.Outcome{Status: gatewarden.ActionApplied, Reason: said, Change: "called " + who + " at " + c.where()}, nil
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		return gatewarden.Outcome{}, gatewarden.Errorf(gatewarden.Unavailable, "%s: %s", said, excerpt)
	case status >= 300 && status < 400:
		said += ", a redirect that is not followed: give the webhook its final URL"
	}
	return gatewarden.Outcome{Status: gatewarden.ActionFailed, Reason: said, Details: excerpt}, nil
}

// do makes one request and returns the status and the beginning of the answer.
func (e *Executor) do(ctx context.Context, id string, c *call, message []byte) (status int, excerpt string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, c.method, c.url.String(), strings.NewReader(string(message)))
	if err != nil {
		return 0, "", gatewarden.Errorf(gatewarden.Invalid, "the webhook at %s cannot be called: %s", c.where(), c.redact(err.Error()))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "gatewarden")
	maps.Copy(req.Header, c.header)
	if host := c.header.Get("Host"); host != "" {
		req.Host = host
	}
	req.Header.Set("Idempotency-Key", id)
	resp, err := e.http.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return 0, "", &gatewarden.Error{
			Code: gatewarden.Unavailable, Err: err,
			Message: fmt.Sprintf("calling the webhook at %s: %s", c.where(), c.redact(err.Error())),
		}
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // the status is the answer; the body is only shown
	return resp.StatusCode, excerptOf(c.redact(string(answer))), nil
}

// excerptOf returns the beginning of an answer without control characters.
func excerptOf(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "�"))
	return strings.TrimSpace(strings.ToValidUTF8(text[:min(len(text), maxExcerpt)], ""))
}

// Revert resolves an alert. For others it does nothing: what the receiver did cannot be
// taken back from here.
func (e *Executor) Revert(ctx context.Context, a gatewarden.Action) (gatewarden.Outcome, error) {
	if a.Spec.Kind == gatewarden.StepAlertmanager {
		return e.resolve(ctx, a)
	}
	return gatewarden.Outcome{
		Status: gatewarden.ActionLeft,
		Reason: fmt.Sprintf("there is nothing to revert: what the webhook of %s did cannot be taken back by the guard", a.ID),
	}, nil
}
