package promquery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// client asks the query API.
type client struct {
	settings *Settings
	env      collector.Env
	http     *http.Client
	turns    chan struct{} // as many as may ask at one time
	metrics  *metrics
	now      func() time.Time
}

// grid is where a question wants numbers: from, from+step, … up to and with to.
type grid struct {
	from, to time.Time
	step     time.Duration
}

// ask evaluates an expression on a grid. The error is a *problem, unless ctx is done.
func (c *client) ask(ctx context.Context, expr string, g grid) (line, error) {
	select {
	case c.turns <- struct{}{}:
		defer func() { <-c.turns }()
	case <-ctx.Done():
		return line{}, ctx.Err()
	}
	began := c.now()
	l, err := c.question(ctx, expr, g)
	if ctx.Err() != nil {
		return line{}, ctx.Err()
	}
	c.metrics.seconds.Observe(c.now().Sub(began).Seconds())
	if p, ok := errors.AsType[*problem](err); ok {
		c.metrics.questions.WithLabelValues(p.outcome).Inc()
	} else if err == nil {
		c.metrics.questions.WithLabelValues(answered).Inc()
	}
	return l, err
}

func (c *client) question(ctx context.Context, expr string, g grid) (line, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.settings.Timeout))
	defer cancel()
	resp, err := c.post(ctx, "query_range", url.Values{
		"query": {expr},
		"start": {strconv.FormatInt(g.from.Unix(), 10)},
		"end":   {strconv.FormatInt(g.to.Unix(), 10)},
		"step":  {strconv.FormatInt(int64(g.step/time.Second), 10)},
	})
	if err != nil {
		return line{}, err
	}
	defer resp.Body.Close()
	l, err := readAnswer(resp.StatusCode, resp.Header, resp.Body, int64(c.settings.MaxBody))
	if err != nil && ctx.Err() != nil {
		return line{}, failure("no answer within %s", c.settings.Timeout)
	}
	return l, err
}

// post asks an endpoint of the API. Servers pass over parameters that they do not know:
// partial_response is Thanos', deny_partial_response and nocache VictoriaMetrics', whose
// cache moves the grid.
func (c *client) post(ctx context.Context, endpoint string, form url.Values) (*http.Response, error) {
	form.Set("timeout", strconv.FormatInt(time.Duration(c.settings.Timeout).Milliseconds(), 10)+"ms")
	form.Set("partial_response", "false")
	form.Set("deny_partial_response", "1")
	form.Set("nocache", "1")
	address := strings.TrimSuffix(c.settings.URL, "/") + "/api/v1/" + endpoint
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, failure("asking: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("User-Agent", "gatewarden")
	if err := c.authorize(req); err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err == nil {
		return resp, nil
	}
	if ctx.Err() != nil {
		return nil, failure("no answer within %s", c.settings.Timeout)
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // without the whole address
	}
	return nil, failure("no answer: %w", err)
}

// authorize says who asks. Files are read each time, so that a token that was renewed
// needs no restart.
func (c *client) authorize(req *http.Request) error {
	s := c.settings
	secret, err := c.secret()
	if err != nil {
		return err
	}
	switch {
	case s.User != "":
		req.SetBasicAuth(s.User, secret)
	case secret != "":
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	if s.Tenant != "" {
		req.Header.Set("X-Scope-OrgID", s.Tenant)
	}
	for name, value := range s.Headers {
		if strings.EqualFold(name, "Host") {
			req.Host = value.Reveal()
		}
		req.Header.Set(name, value.Reveal())
	}
	return nil
}

func (c *client) secret() (string, error) {
	s := c.settings
	file := s.PasswordFile + s.TokenFile // Settings.Validate lets one of them be set
	if file == "" {
		return s.Password.Reveal() + s.Token.Reveal(), nil
	}
	data, err := os.ReadFile(c.env.Path(file))
	if err != nil {
		return "", failure("reading who asks: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// newHTTPClient returns a client that verifies the server as the settings say.
func newHTTPClient(env collector.Env, s *Settings) (*http.Client, error) {
	roots, err := authorities(env, s.CAFile)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	if s.CertFile != "" {
		read := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(env.Path(s.CertFile), env.Path(s.KeyFile))
			if err != nil {
				return nil, fmt.Errorf("reading cert_file and key_file: %w", err)
			}
			return &pair, nil
		}
		if _, err := read(); err != nil {
			return nil, gatewarden.Errorf(gatewarden.Invalid, "prometheus: %w", err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return read() }
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: s.Concurrency, MaxConnsPerHost: s.Concurrency, IdleConnTimeout: 2 * time.Minute, MaxResponseHeaderBytes: 64 << 10,
		},
		// A page to log in at is no answer: where it leads does not matter.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func authorities(env collector.Env, file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(env.Path(file))
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "prometheus: reading ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "prometheus: ca_file %s has no certificate in PEM", file)
	}
	return pool, nil
}
