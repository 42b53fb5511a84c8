package jenkins

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gatewarden/gatewarden"
)

// maxJSON bounds what is read of an answer. A hundred builds with the parameters
// that we ask for are some tens of kilobytes.
const maxJSON = 8 << 20

// client asks one controller. Every address is made from base: the URLs inside
// Jenkins' answers use the URL that it is configured with, which may lead nowhere,
// or somewhere that must not see the credentials.
type client struct {
	base    string // without a trailing slash
	cfg     Config
	http    *http.Client
	metrics *metrics

	mu    sync.Mutex
	crumb crumb // of the session in the cookie jar; password logins only
}

type crumb struct {
	Value string `json:"crumb"`
	Field string `json:"crumbRequestField"`
}

func newClient(cfg Config, m *metrics) (*client, error) {
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		return nil, gatewarden.Errorf(gatewarden.Invalid, "the URL of Jenkins is not an http or https URL").
			WithHint("write it with its context path, such as http://jenkins:8080/jenkins")
	case u.User != nil:
		return nil, gatewarden.Errorf(gatewarden.Invalid, "the URL of Jenkins carries credentials").
			WithHint("put them into user and token_file")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, gatewarden.Errorf(gatewarden.Invalid, "the URL of Jenkins has a query or a fragment")
	case cfg.User == "" && (cfg.Token != "" || cfg.Password != ""):
		return nil, gatewarden.Errorf(gatewarden.Invalid, "there is a token or password for Jenkins, but no user")
	}
	hc := &http.Client{Transport: http.DefaultTransport}
	if cfg.HTTPClient != nil {
		*hc = *cfg.HTTPClient
	}
	// A redirect of a trigger would be followed with a GET and lose the item's number,
	// and any other would carry the credentials to wherever it points.
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if hc.Jar, err = cookiejar.New(nil); err != nil {
		return nil, fmt.Errorf("making a cookie jar: %w", err)
	}
	return &client{base: strings.TrimRight(cfg.URL, "/"), cfg: cfg, http: hc, metrics: m}, nil
}

// secret is what authenticates the user.
func (c *client) secret() string {
	if c.cfg.Token != "" {
		return c.cfg.Token
	}
	return c.cfg.Password
}

// redact takes the credentials out of a text that somebody else wrote.
func (c *client) redact(text string) string {
	s := c.secret()
	if s == "" {
		return text
	}
	basic := base64.StdEncoding.EncodeToString([]byte(c.cfg.User + ":" + s))
	return strings.NewReplacer(basic, "<secret>", s, "<secret>").Replace(text)
}

// answer is a response that was read to its end, or to the limit.
type answer struct {
	status int
	header http.Header
	body   []byte
	whole  bool // the body is no longer than the limit
}

// jenkins reports whether the answer is from Jenkins itself and not from
// something in front of it.
func (a *answer) jenkins() bool { return a.header.Get("X-Jenkins") != "" }

// send makes one request. path is escaped and begins with a slash; form is the
// body of a POST. sent reports whether any of it may have reached the peer.
func (c *client) send(ctx context.Context, method, path string, query, form url.Values, limit int64) (ans *answer, sent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	address := c.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, false, gatewarden.Errorf(gatewarden.Internal, "making a request to Jenkins: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "gatewarden")
	if c.cfg.User != "" {
		req.SetBasicAuth(c.cfg.User, c.secret())
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if k := c.currentCrumb(); k.Field != "" {
			req.Header.Set(k.Field, k.Value)
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.metrics.request(method, 0)
		return nil, connected.Load(), c.unreachable(err)
	}
	defer resp.Body.Close()
	c.metrics.request(method, resp.StatusCode)
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	ans = &answer{status: resp.StatusCode, header: resp.Header, body: body, whole: int64(len(body)) <= limit}
	if err != nil {
		return ans, true, c.unreachable(err)
	}
	return ans, true, nil
}

func (c *client) unreachable(err error) error {
	return &gatewarden.Error{
		Code: gatewarden.Unavailable, Message: "asking Jenkins at " + c.base + ": " + c.redact(err.Error()), Err: err,
		Hint: "is it up, and can this machine reach it?",
	}
}

func (c *client) currentCrumb() crumb {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.crumb
}

// refreshCrumb gets a crumb for the session in the cookie jar. A controller
// without a crumb issuer answers 404 and needs none.
func (c *client) refreshCrumb(ctx context.Context) error {
	var got crumb
	err := c.getJSON(ctx, "/crumbIssuer/api/json", nil, &got)
	if err != nil && gatewarden.ErrorCode(err) != gatewarden.NotFound {
		return fmt.Errorf("getting a crumb: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.crumb = got
	return nil
}

// needsCrumb reports whether POSTs are checked: those with an API token are not.
func (c *client) needsCrumb() bool { return c.cfg.Token == "" && c.cfg.Password != "" }

// post sends a POST, and once more when a stale crumb was all that was wrong with it. before is
// called for each.
func (c *client) post(ctx context.Context, path string, query, form url.Values, before func()) (*answer, bool, error) {
	if c.needsCrumb() && c.currentCrumb().Field == "" {
		if err := c.refreshCrumb(ctx); err != nil {
			return nil, false, err
		}
	}
	send := func() (*answer, bool, error) {
		before()
		return c.send(ctx, http.MethodPost, path, query, form, 64<<10)
	}
	ans, sent, err := send()
	if ans == nil || ans.status != http.StatusForbidden || !c.needsCrumb() || !strings.Contains(string(ans.body), "crumb") {
		return ans, sent, err
	}
	if c.refreshCrumb(ctx) != nil {
		return ans, sent, err
	}
	return send()
}

// getJSON reads path into out. Errors: Unavailable when no Jenkins answered, or
// not with what it should (a proxy, a login page, half a body): worth asking
// again. NotFound and Invalid are Jenkins' own words.
func (c *client) getJSON(ctx context.Context, path string, query url.Values, out any) error {
	ans, _, err := c.send(ctx, http.MethodGet, path, query, nil, maxJSON)
	if err != nil {
		return err
	}
	if ans.status != http.StatusOK {
		return c.refusal(path, ans)
	}
	mediaType, _, _ := mime.ParseMediaType(ans.header.Get("Content-Type"))
	switch {
	case mediaType != "application/json":
		return gatewarden.Errorf(gatewarden.Unavailable, "Jenkins at %s%s answered %q instead of JSON", c.base, path, mediaType).
			WithHint("is there a login page or another program at this URL?")
	case !ans.whole:
		return gatewarden.Errorf(gatewarden.Unavailable, "the answer of %s%s is longer than %d bytes", c.base, path, maxJSON)
	}
	if err := json.Unmarshal(ans.body, out); err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "reading the answer of %s%s: %w", c.base, path, err)
	}
	return nil
}

// refusal makes an error of an answer that is not the wanted one.
func (c *client) refusal(path string, ans *answer) *gatewarden.Error {
	says := fmt.Sprintf("Jenkins answered %d to %s", ans.status, c.base+path)
	if text := c.redact(plainText(ans.body)); text != "" {
		says += ": " + text
	}
	with := func(code gatewarden.Code, hint string, args ...any) *gatewarden.Error {
		return (&gatewarden.Error{Code: code, Message: says}).WithHint(hint, args...)
	}
	switch s := ans.status; {
	case s == http.StatusUnauthorized:
		return with(gatewarden.Invalid, "Jenkins does not accept the user %q with this token or password", c.cfg.User)
	case s == http.StatusForbidden && ans.header.Get("X-Required-Permission") != "":
		return with(gatewarden.Invalid, "give the user %q the permission %s", c.cfg.User, ans.header.Get("X-Required-Permission"))
	case s == http.StatusForbidden:
		return with(gatewarden.Invalid, "the user %q needs Overall/Read, Job/Read and Job/Build, and an API token", c.cfg.User)
	case s == http.StatusNotFound && ans.jenkins():
		return with(gatewarden.NotFound, "it does not exist, or the user %q may not see it", c.cfg.User)
	case s == http.StatusServiceUnavailable && !ans.jenkins():
		return with(gatewarden.Unavailable, "Jenkins is starting, or something before it is overloaded")
	case s >= 500, s == http.StatusTooManyRequests, s == http.StatusRequestTimeout:
		return with(gatewarden.Unavailable, "see the log of Jenkins, or of the proxy before it")
	case s >= 300 && s < 400:
		return with(gatewarden.Unavailable, "redirects are not followed: is the URL of Jenkins right, https included?")
	case s == http.StatusNotFound:
		return with(gatewarden.Unavailable, "it does not look like Jenkins: is its URL right, with the context path?")
	case s == http.StatusConflict:
		return with(gatewarden.Conflict, "enable the job")
	default:
		return with(gatewarden.Invalid, "see the message")
	}
}

// plainText returns the words of an HTML page, at most 300 bytes of them.
func plainText(body []byte) string {
	const limit = 300
	var b strings.Builder
	inTag := false
	for _, r := range string(body[:min(len(body), 64<<10)]) {
		switch {
		case r == '<':
			inTag = true
			b.WriteByte(' ')
		case r == '>' && inTag:
			inTag = false
		case !inTag:
			b.WriteRune(r)
		}
	}
	return shorten(strings.Join(strings.Fields(printable(b.String())), " "), limit)
}

// shorten cuts text to at most limit bytes, between two characters.
func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
