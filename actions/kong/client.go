package kong

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	gokong "github.com/kong/go-kong/kong"

	"github.com/gatewarden/gatewarden"
)

const (
	defaultTimeout = 5 * time.Second
	maxAnswer      = 32 << 20 // bytes of one answer of the Admin API
	pageSize       = 1000     // Kong's largest
	maxPages       = 1000     // a list that has more is a loop
)

// client speaks to the Admin API: raw JSON through go-kong, whose types would drop
// the fields that they don't know and turn null into missing, so that a user's
// plugin could not be given back as it was.
type client struct {
	kong *gokong.Client
	url  string // of the Admin API, without a password, for people
	auth bool   // a token is sent

	dbless    bool          // writes are made by way of the whole configuration
	declaring chan struct{} // who has written into it holds the only right to do so
	holds     bool          // that is this one
}

func newClient(c Config, m *metrics) (*client, error) {
	u, err := url.Parse(c.AdminURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "kong.admin_url %q is no URL", redacted(c.AdminURL)).WithHint("write http://HOST:8001")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	transport := c.Transport
	if transport == nil {
		transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	root := u.String()
	k, err := gokong.NewClient(&root, &http.Client{
		Timeout:       timeout,
		Transport:     &transportOf{next: transport, token: c.Token, metrics: m},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "kong.admin_url %q: %w", redacted(c.AdminURL), err)
	}
	k.UserAgent = "gatewarden"
	k.SetLogger(io.Discard)
	k.SetWorkspace(c.Workspace)
	shown := root
	if c.Workspace != "" {
		shown += "/" + c.Workspace
	}
	return &client{kong: k, url: redacted(shown), auth: c.Token != "", dbless: c.DBLess, declaring: make(chan struct{}, 1)}, nil
}

// redacted takes the password out of a URL.
func redacted(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "(unreadable)"
	}
	u.User = nil
	return u.String()
}

// transportOf adds the token, bounds answers and counts.
type transportOf struct {
	next    http.RoundTripper
	token   string
	metrics *metrics
}

func (t *transportOf) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.token != "" {
		req = req.Clone(req.Context())
		req.Header.Set("Kong-Admin-Token", t.token)
	}
	begun := time.Now()
	resp, err := t.next.RoundTrip(req)
	t.metrics.duration.Observe(time.Since(begun).Seconds())
	if err != nil {
		t.metrics.requests.WithLabelValues(req.Method, "none").Inc()
		return nil, err
	}
	t.metrics.requests.WithLabelValues(req.Method, strconv.Itoa(resp.StatusCode)).Inc()
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	if gone(resp.StatusCode) {
		if err := ofKong(resp); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

// gone reports whether a status says that there is no such thing.
func gone(status int) bool { return status == http.StatusNotFound || status == http.StatusGone }

// notOfKong is a 404 of something else than an Admin API.
type notOfKong struct{ status int }

func (n *notOfKong) Error() string { return fmt.Sprintf("%d, and not in Kong's words", n.status) }

// ofKong returns an error when an answer that there is no such thing is not the Admin API's: a
// proxy before it gives one as well while it knows no way to it, and so does Kong's own, by which
// the Admin API may be reached. Kong's is {"message":"Not found"}, that of a Konnect has a title.
func ofKong(resp *http.Response) error {
	body, err := io.ReadAll(resp.Body)
	if closeErr := resp.Body.Close(); err != nil || closeErr != nil {
		return errors.Join(err, closeErr)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var said struct {
		Message string `json:"message"`
		Title   string `json:"title"`
		Status  int    `json:"status"`
	}
	known := json.Unmarshal(body, &said) == nil && (said.Message != "" || said.Title != "" && said.Status == resp.StatusCode)
	if !known || strings.HasPrefix(said.Message, "no Route matched") {
		return &notOfKong{resp.StatusCode}
	}
	return nil
}

// do sends a request and returns the answer's JSON, nil when it has none. The path
// must be escaped.
func (c *client) do(ctx context.Context, method, path string, query any, body any) (json.RawMessage, error) {
	if c.dbless && (method == http.MethodPut || method == http.MethodPatch || method == http.MethodDelete) {
		return nil, c.redeclare(ctx, method, path, body)
	}
	return c.send(ctx, method, path, query, body)
}

// send sends a request of do.
func (c *client) send(ctx context.Context, method, path string, query any, body any) (json.RawMessage, error) {
	req, err := c.kong.NewRequest(method, path, query, body)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "%s %s: %w", method, path, err)
	}
	var answer bytes.Buffer
	resp, err := c.kong.Do(ctx, req, &answer)
	if err != nil {
		return nil, c.explain(method, path, err)
	}
	if resp.StatusCode >= 300 {
		return nil, c.explain(method, path, gokong.NewAPIError(resp.StatusCode, "it redirects to "+redacted(resp.Header.Get("Location"))))
	}
	if answer.Len() == 0 {
		return nil, nil
	}
	if !json.Valid(answer.Bytes()) {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "%s %s%s: the answer is no JSON, or was cut", method, c.url, path).WithHint("is kong.admin_url the Admin API, usually on port 8001?")
	}
	return answer.Bytes(), nil
}

// explain turns a failure into an Error that says what to do.
func (c *client) explain(method, path string, err error) error {
	what := method + " " + c.url + path
	if strange, ok := errors.AsType[*notOfKong](err); ok {
		return gatewarden.Errorf(gatewarden.Unavailable, "%s was answered by something else than Kong's Admin API: %w", what, strange).
			WithHint("is there a proxy before the Admin API that knows no way to it just now?")
	}
	refused := new(gokong.APIError)
	if !errors.As(err, &refused) {
		return gatewarden.Errorf(gatewarden.Unavailable, "Kong did not answer: %s: %w", what, unwrapURL(err)).WithHint("is the Admin API up and reachable from here?")
	}
	e := gatewarden.Errorf(codeOf(refused.Code()), "Kong refused %s: %d %s", what, refused.Code(), refused.Error())
	e.Err = refused
	e.Message = fmt.Sprintf("Kong refused %s with %d: %s", what, refused.Code(), messageOf(refused))
	return e.WithHint("%s", hintFor(refused.Code()))
}

// messageOf cuts Kong's own message out of go-kong's.
func messageOf(refused *gokong.APIError) string {
	s := refused.Error()
	if _, rest, ok := strings.Cut(s, "(message: "); ok {
		if text, err := strconv.Unquote(strings.TrimSuffix(rest, ")")); err == nil {
			return text
		}
	}
	return s
}

// unwrapURL drops the URL that net/http puts before an error: it is said already,
// and may hold a password.
func unwrapURL(err error) error {
	if u := new(url.Error); errors.As(err, &u) {
		return u.Err
	}
	return err
}

// codeOf is the border between HTTP and the program's errors. Only what may go
// away by itself is Unavailable: Kong answers 500 when it can't reach its database.
func codeOf(status int) gatewarden.Code {
	if gone(status) {
		return gatewarden.NotFound
	}
	switch status {
	case http.StatusConflict, http.StatusPreconditionFailed:
		return gatewarden.Conflict
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusLocked:
		return gatewarden.Unavailable
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusNetworkAuthenticationRequired:
		return gatewarden.Invalid
	}
	if status >= 500 {
		return gatewarden.Unavailable
	}
	return gatewarden.Invalid
}

func hintFor(status int) string {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return "set kong.token_file to a token that may change plugins and targets"
	case status == http.StatusMethodNotAllowed:
		return "a Kong without a database takes no single changes; with kong.dbless the guard rewrites its whole configuration"
	case status >= 300 && status < 400:
		return "kong.admin_url must be the Admin API itself"
	case status == http.StatusInternalServerError:
		return "can Kong reach its database? see " + "GET /status"
	default:
		return ""
	}
}

// list returns all entities of a list, whatever its pages. It never asks for those of some tag:
// a Kong without a database answers that with 500 as long as one of the list has no tags.
func (c *client) list(ctx context.Context, path string) ([]json.RawMessage, error) {
	type page struct {
		Size   int    `url:"size"`
		Offset string `url:"offset,omitempty"`
	}
	var all []json.RawMessage
	q := page{Size: pageSize}
	for range maxPages {
		raw, err := c.do(ctx, http.MethodGet, path, &q, nil)
		if err != nil {
			return nil, err
		}
		// The offset is followed, not the next link, which drops the size for targets.
		var answer struct {
			Data   []json.RawMessage `json:"data"`
			Offset string            `json:"offset"`
		}
		if err := json.Unmarshal(raw, &answer); err != nil {
			return nil, gatewarden.Errorf(gatewarden.Unavailable, "GET %s%s: %w", c.url, path, err)
		}
		all = append(all, answer.Data...)
		if answer.Offset == "" || answer.Offset == q.Offset {
			return all, nil
		}
		q.Offset = answer.Offset
	}
	return nil, gatewarden.Errorf(gatewarden.Invalid, "GET %s%s has more than %d pages", c.url, path, maxPages)
}

// get returns one entity, nil when there is none.
func (c *client) get(ctx context.Context, path string) (json.RawMessage, error) {
	raw, err := c.do(ctx, http.MethodGet, path, nil, nil)
	if gatewarden.ErrorCode(err) == gatewarden.NotFound {
		return nil, nil
	}
	return raw, err
}

// curl returns a command that a person can paste.
func (c *client) curl(method, path string, body []byte) string {
	if c.dbless {
		return c.byHand(method, path, body)
	}
	var b strings.Builder
	b.WriteString("curl -X " + method + c.tokenFlag())
	if body != nil {
		b.WriteString(" -H 'Content-Type: application/json' -d '" + strings.ReplaceAll(string(body), "'", `'\''`) + "'")
	}
	return b.String() + " '" + c.url + path + "'"
}

// tokenFlag is what curl needs to be let in.
func (c *client) tokenFlag() string {
	if !c.auth {
		return ""
	}
	return ` -H "Kong-Admin-Token: $KONG_ADMIN_TOKEN"`
}
