package notify

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
)

// receiver answers calls and remembers them.
type receiver struct {
	answer func(*http.Request) (status int, header http.Header, body string)
	calls  []*http.Request
	bodies []string
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	b, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	r.calls, r.bodies = append(r.calls, req), append(r.bodies, string(b))
	status, header, body := 200, http.Header{}, ""
	if r.answer != nil {
		status, header, body = r.answer(req)
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
}

// answers is a receiver that always says the same.
func answers(status int, body string) *receiver {
	return &receiver{answer: func(*http.Request) (int, http.Header, string) { return status, http.Header{}, body }}
}

func newExecutor(rt http.RoundTripper, files map[string]string) *Executor {
	return New(Config{HTTPClient: &http.Client{Transport: rt}, ReadFile: func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, fs.ErrNotExist
	}}, nil)
}

func action(step gatewarden.WebhookStep) gatewarden.Action {
	since := time.Date(2026, 11, 21, 13, 0, 0, 0, time.FixedZone("CET", 3600))
	return gatewarden.Action{
		ID: "tell-team-5f3a9c21-1", Policy: "tell-team", Ladder: "tell-team-5f3a9c21", Step: 1, PlannedAt: since.Add(2 * time.Second),
		Spec: gatewarden.Step{Kind: gatewarden.StepWebhook, Webhook: &step},
		Trigger: gatewarden.Trigger{
			Kind: gatewarden.EventSLO, Name: "orders-availability", Severity: gatewarden.SeverityOutage, Since: since, Reason: "half of the requests fail",
		},
	}
}

func TestCall(t *testing.T) {
	r := &receiver{}
	e := newExecutor(r, map[string]string{"/run/token": "  s3cret-token\n"})
	out, err := e.Apply(t.Context(), action(gatewarden.WebhookStep{
		URL: "https://hooks.test/guard?key=abcdefgh", Headers: map[string]string{"x-team": "shop"}, BearerTokenFile: "/run/token",
	}), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := gatewarden.Outcome{Status: gatewarden.ActionApplied, Reason: "the webhook at https://hooks.test answered 200", Change: "called the webhook at https://hooks.test"}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	call := r.calls[0]
	if call.Method != "POST" || call.URL.String() != "https://hooks.test/guard?key=abcdefgh" {
		t.Errorf("%s %s", call.Method, call.URL)
	}
	for k, v := range map[string]string{
		"Idempotency-Key": "tell-team-5f3a9c21-1", "Authorization": "Bearer s3cret-token", "X-Team": "shop",
		"Content-Type": "application/json", "User-Agent": "gatewarden",
	} {
		if got := call.Header.Get(k); got != v {
			t.Errorf("%s: %q, want %q", k, got, v)
		}
	}
	const body = `{"version":1,"action":"tell-team-5f3a9c21-1","policy":"tell-team","ladder":"tell-team-5f3a9c21","step":1,` +
		`"planned_at":"2026-11-21T12:00:02Z","trigger":{"kind":"slo","name":"orders-availability","severity":"outage",` +
		`"since":"2026-11-21T12:00:00Z","reason":"half of the requests fail"}}` + "\n"
	if diff := cmp.Diff(body, r.bodies[0]); diff != "" {
		t.Errorf("the message, which others rely on (-want +got)\n%s", diff)
	}
}

func TestTheMessageSaysWhatItIsAbout(t *testing.T) {
	for kind, want := range map[gatewarden.EventType]string{
		gatewarden.EventSLO: "slo", gatewarden.EventGate: "canary", gatewarden.EventAlert: "alert",
	} {
		a := action(gatewarden.WebhookStep{})
		a.Trigger.Kind = kind
		b, err := body(a)
		if !strings.Contains(string(b), `"trigger":{"kind":"`+want+`"`) {
			t.Errorf("%s: %s, %v", kind, b, err)
		}
	}
}

func TestEveryStatus(t *testing.T) {
	for status := 200; status < 600; status++ {
		e := newExecutor(answers(status, "because"), nil)
		out, err := e.Apply(t.Context(), action(gatewarden.WebhookStep{URL: "http://hooks.test"}), nil)
		wantStatus, wantCode := gatewarden.ActionFailed, gatewarden.Code("")
		switch {
		case status < 300:
			wantStatus = gatewarden.ActionApplied
		case status >= 500 || status == 408 || status == 425 || status == 429:
			wantStatus, wantCode = "", gatewarden.Unavailable
		}
		if out.Status != wantStatus || gatewarden.ErrorCode(err) != wantCode {
			t.Errorf("%d: %q, %v, want %q, %q", status, out.Status, err, wantStatus, wantCode)
		}
		if out.Status == gatewarden.ActionFailed && (out.Details != "because" || !strings.Contains(out.Reason, fmt.Sprint(status))) {
			t.Errorf("%d: %+v", status, out)
		}
	}
}

func TestSteps(t *testing.T) {
	files := map[string]string{"/url": "https://hooks.test/T0/B0/x\n", "/empty": " \n", "/lines": "a\nb", "/long": strings.Repeat("x", maxFile+1)}
	for name, c := range map[string]struct {
		step gatewarden.WebhookStep
		says string // "" when the step is fine
	}{
		"a URL":                    {gatewarden.WebhookStep{URL: "http://hooks.test"}, ""},
		"a URL in a file":          {gatewarden.WebhookStep{URLFile: "/url"}, ""},
		"another method":           {gatewarden.WebhookStep{URL: "http://hooks.test", Method: "put"}, ""},
		"no URL":                   {gatewarden.WebhookStep{}, "set url or url_file"},
		"both":                     {gatewarden.WebhookStep{URL: "http://hooks.test", URLFile: "/url"}, "leave one out"},
		"a file":                   {gatewarden.WebhookStep{URL: "file:///etc/passwd"}, "not an http or https URL"},
		"no host":                  {gatewarden.WebhookStep{URL: "http:///x"}, "not an http or https URL"},
		"a URL that is none":       {gatewarden.WebhookStep{URL: "http://%zz"}, "not an http or https URL"},
		"a file that is not there": {gatewarden.WebhookStep{URLFile: "/none"}, "reading the webhook's url_file"},
		"an empty file":            {gatewarden.WebhookStep{URLFile: "/empty"}, "no single line"},
		"two lines":                {gatewarden.WebhookStep{URL: "http://hooks.test", BearerTokenFile: "/lines"}, "no single line"},
		"a long file":              {gatewarden.WebhookStep{URL: "http://hooks.test", BearerTokenFile: "/long"}, "no single line"},
		"a method that is none":    {gatewarden.WebhookStep{URL: "http://hooks.test", Method: "PO ST"}, "method"},
		"a header with two lines":  {gatewarden.WebhookStep{URL: "http://hooks.test", Headers: map[string]string{"X": "a\r\nY: b"}}, "cannot be sent"},
		"a header without a name":  {gatewarden.WebhookStep{URL: "http://hooks.test", Headers: map[string]string{"": "a"}}, "cannot be sent"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &receiver{}
			e := newExecutor(r, files)
			_, err := e.Prepare(t.Context(), action(c.step))
			if c.says == "" && err != nil || c.says != "" && (gatewarden.ErrorCode(err) != gatewarden.Invalid || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("Prepare: %v, want %q", err, c.says)
			}
			if len(r.calls) != 0 {
				t.Error("Prepare called somebody")
			}
			_, err = e.Apply(t.Context(), action(c.step), nil)
			if (err == nil) != (c.says == "") || (len(r.calls) == 1) != (c.says == "") {
				t.Errorf("Apply: %v after %d calls", err, len(r.calls))
			}
			if len(r.calls) == 1 && c.step.Method != "" && r.calls[0].Method != "PUT" {
				t.Errorf("method %s", r.calls[0].Method)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	for name, c := range map[string]struct {
		status   int
		location string
		calls    int
		want     gatewarden.ActionStatus
	}{
		"307 on the same host keeps the message":   {307, "https://hooks.test/moved", 2, gatewarden.ActionApplied},
		"308 by a path":                            {308, "/moved", 2, gatewarden.ActionApplied},
		"to another host it is not followed":       {307, "https://evil.test/moved", 1, gatewarden.ActionFailed},
		"to another port it is not followed":       {307, "https://hooks.test:8443/moved", 1, gatewarden.ActionFailed},
		"to plain http it is not followed":         {307, "http://hooks.test/moved", 1, gatewarden.ActionFailed},
		"one that would lose the message":          {302, "https://hooks.test/moved", 1, gatewarden.ActionFailed},
		"a circle comes to an end":                 {307, "https://hooks.test/guard", 6, gatewarden.ActionFailed},
		"one without a Location is a redirect too": {304, "", 1, gatewarden.ActionFailed},
	} {
		t.Run(name, func(t *testing.T) {
			r := &receiver{}
			r.answer = func(req *http.Request) (int, http.Header, string) {
				if req.URL.Path == "/moved" {
					return 200, http.Header{}, ""
				}
				h := http.Header{}
				if c.location != "" {
					h.Set("Location", c.location)
				}
				return c.status, h, ""
			}
			e := newExecutor(r, map[string]string{"/t": "token-of-hooks"})
			out, err := e.Apply(t.Context(), action(gatewarden.WebhookStep{URL: "https://hooks.test/guard", BearerTokenFile: "/t"}), nil)
			if err != nil || out.Status != c.want || len(r.calls) != c.calls {
				t.Errorf("%+v, %v after %d calls, want %s after %d", out, err, len(r.calls), c.want, c.calls)
			}
			for i, call := range r.calls {
				if call.URL.Host != "hooks.test" || r.bodies[i] != r.bodies[0] || call.Header.Get("Idempotency-Key") == "" {
					t.Errorf("call %d: %s %v %q", i, call.URL, call.Header, r.bodies[i])
				}
			}
		})
	}
}

func TestNoAnswerIsTriedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		timeout gatewarden.Duration
		want    time.Duration
	}{
		"after ten seconds":      {0, 10 * time.Second},
		"after the step's limit": {gatewarden.Duration(2 * time.Second), 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newExecutor(roundTripper(func(r *http.Request) (*http.Response, error) {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}), nil)
				start := time.Now()
				_, err := e.Apply(t.Context(), action(gatewarden.WebhookStep{URL: "http://hooks.test", Timeout: c.timeout}), nil)
				if gatewarden.ErrorCode(err) != gatewarden.Unavailable || time.Since(start) != c.want {
					t.Errorf("%v after %s, want Unavailable after %s", err, time.Since(start), c.want)
				}
			})
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestSecretsStaySecret has the receiver, the network and the log say everything
// that they know.
func TestSecretsStaySecret(t *testing.T) {
	secrets := []string{"hunter22", "key=abcdefgh", "s3cret-token", "header-secret", "T0/B0/incoming"}
	files := map[string]string{"/token": "s3cret-token", "/url": "https://guard:hunter22@hooks.test/T0/B0/incoming?key=abcdefgh"}
	step := gatewarden.WebhookStep{URLFile: "/url", BearerTokenFile: "/token", Headers: map[string]string{"X-Key": "header-secret"}}
	tell := func(r *http.Request) string { return fmt.Sprint(r.URL, r.Header, secrets) }
	for name, rt := range map[string]http.RoundTripper{
		"refusal": &receiver{answer: func(r *http.Request) (int, http.Header, string) { return 400, http.Header{}, tell(r) }},
		"failure": &receiver{answer: func(r *http.Request) (int, http.Header, string) { return 500, http.Header{}, tell(r) }},
		"network": roundTripper(func(r *http.Request) (*http.Response, error) { return nil, errors.New(tell(r)) }),
		"at the cut": &receiver{answer: func(*http.Request) (int, http.Header, string) {
			return 400, http.Header{}, strings.Repeat("x", maxExcerpt-8) + "s3cret-token"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			e := newExecutor(rt, files)
			e.logger = slog.New(slog.NewTextHandler(&log, nil))
			out, err := e.Apply(t.Context(), action(step), nil)
			text := fmt.Sprintf("%+v %v %s", out, err, log.String())
			for _, s := range append(secrets, "s3cret") {
				if strings.Contains(text, s) {
					t.Errorf("%s shows %q", text, s)
				}
			}
			if !strings.Contains(text, "https://hooks.test") {
				t.Errorf("%s does not say which webhook", text)
			}
		})
	}
}

func TestLongAndStrangeAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"endless":     strings.Repeat("é", 1<<20),
		"binary":      "\x00\xff\x1b[31m" + strings.Repeat("\xc3", 600),
		"cut in half": strings.Repeat("x", maxExcerpt-1) + "é",
	} {
		t.Run(name, func(t *testing.T) {
			rest := &countingReader{r: strings.NewReader(body)}
			e := newExecutor(roundTripper(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 400, Body: io.NopCloser(rest), Request: r}, nil
			}), nil)
			out, err := e.Apply(t.Context(), action(gatewarden.WebhookStep{URL: "http://hooks.test"}), nil)
			if err != nil || len(out.Details) > maxExcerpt || !utf8.ValidString(out.Details) || strings.ContainsAny(out.Details, "\x00\x1b") {
				t.Errorf("%v, %d bytes: %q", err, len(out.Details), out.Details)
			}
			if rest.n > maxAnswer {
				t.Errorf("%d bytes were read, the limit is %d", rest.n, maxAnswer)
			}
		})
	}
}

type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

func TestSecretsAreReadAtEachCall(t *testing.T) {
	r := &receiver{}
	files := map[string]string{"/t": "first-token"}
	e := newExecutor(r, files)
	step := gatewarden.WebhookStep{URL: "http://hooks.test", BearerTokenFile: "/t"}
	for _, token := range []string{"first-token", "second-token"} {
		files["/t"] = token
		if _, err := e.Apply(t.Context(), action(step), nil); err != nil {
			t.Fatal(err)
		}
		if got := r.calls[len(r.calls)-1].Header.Get("Authorization"); got != "Bearer "+token {
			t.Errorf("%q, want %q", got, token)
		}
	}
}

func TestStepOfAnotherKind(t *testing.T) {
	e := newExecutor(&receiver{}, nil)
	a := gatewarden.Action{ID: "x", Spec: gatewarden.Step{Kind: gatewarden.StepJenkins}}
	if _, err := e.Apply(t.Context(), a, nil); gatewarden.ErrorCode(err) != gatewarden.Invalid {
		t.Errorf("%v, want Invalid", err)
	}
}

func TestRevertCallsNobody(t *testing.T) {
	r := &receiver{}
	out, err := newExecutor(r, nil).Revert(t.Context(), action(gatewarden.WebhookStep{URL: "http://hooks.test"}))
	if err != nil || out.Status != gatewarden.ActionLeft || !strings.Contains(out.Reason, "nothing to revert") || len(r.calls) != 0 {
		t.Errorf("%+v, %v after %d calls", out, err, len(r.calls))
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := answers(200, "")
	for range 2 { // the second as a reload does
		e := New(Config{HTTPClient: &http.Client{Transport: r}, Registerer: reg}, nil)
		if _, err := e.Apply(t.Context(), action(gatewarden.WebhookStep{URL: "http://hooks.test"}), nil); err != nil {
			t.Fatal(err)
		}
	}
	const want = `
# HELP gatewarden_notify_calls_total Calls of webhooks, by the status of the answer.
# TYPE gatewarden_notify_calls_total counter
gatewarden_notify_calls_total{status="200"} 2
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

func FuzzSecretsOfAURL(f *testing.F) {
	f.Add("https://u:password@h/T0/B0/x?key=abcdef")
	f.Add("http://[::1]:99999/%zz")
	f.Fuzz(func(t *testing.T, address string) {
		e := newExecutor(roundTripper(func(r *http.Request) (*http.Response, error) {
			return nil, errors.New(r.URL.RawQuery)
		}), map[string]string{"/url": address})
		_, err := e.Apply(t.Context(), action(gatewarden.WebhookStep{URLFile: "/url"}), nil)
		if err == nil {
			t.Fatal("no error")
		}
		_, query, ok := strings.Cut(strings.TrimSpace(address), "?")
		query, _, _ = strings.Cut(query, "#")
		if ok && len(query) >= 6 && query != "<secret>" && strings.HasSuffix(err.Error(), ": "+query) {
			t.Errorf("%q of %q", err, address)
		}
	})
}
