package app

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions/jenkins"
	"github.com/gatewarden/gatewarden/actions/kong"
	"github.com/gatewarden/gatewarden/rules"
)

// kongExecutor returns the way to Kong's Admin API.
func kongExecutor(cfg rules.Kong, m mark, logger *slog.Logger, reg prometheus.Registerer) (*kong.Executor, error) {
	token, err := secret(cfg.Token, cfg.TokenFile)
	if err != nil {
		return nil, err
	}
	t, err := transport(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	if err := showCertificate(t, cfg.CertFile, cfg.KeyFile); err != nil {
		return nil, err
	}
	return kong.New(kong.Config{
		AdminURL: cfg.AdminURL, Token: token, Timeout: cfg.Timeout, Workspace: cfg.Workspace, DBLess: cfg.DBLess, Guard: m.guard, Observes: m.observes,
		Transport: traced{next: headers{cfg.Headers, t}}, Logger: logger, Registerer: reg,
	})
}

// headers sends some headers with every request.
type headers struct {
	values map[string]gatewarden.Secret
	next   http.RoundTripper
}

// RoundTrip sends a copy of r with the headers.
func (h headers) RoundTrip(r *http.Request) (*http.Response, error) {
	if len(h.values) > 0 {
		r = r.Clone(r.Context())
		for name, value := range h.values {
			r.Header.Set(name, value.Reveal())
		}
	}
	return h.next.RoundTrip(r)
}

// jenkinsExecutor returns the way to Jenkins, its secrets read from their files.
func jenkinsExecutor(cfg rules.Jenkins, now func() time.Time, logger *slog.Logger, reg prometheus.Registerer) (*jenkins.Executor, error) {
	token, err := secret(cfg.Token, cfg.TokenFile)
	if err != nil {
		return nil, err
	}
	password, err := secret(cfg.Password, cfg.PasswordFile)
	if err != nil {
		return nil, err
	}
	transport, err := transport(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	return jenkins.New(jenkins.Config{
		URL: cfg.URL, User: cfg.User, Token: token, Password: password,
		HTTPClient: &http.Client{Transport: traced{next: transport}}, Timeout: cfg.Timeout, Now: now, Registerer: reg,
	}, logger)
}

// secret returns the secret itself, from its file if it has one.
func secret(value gatewarden.Secret, file string) (string, error) {
	if file == "" {
		return value.Reveal(), nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", gatewarden.Errorf(gatewarden.Invalid, "reading a secret: %w", err).
			WithHint("put it there, readable for this user, or name where it is by the *_file key")
	}
	return strings.TrimSpace(string(b)), nil
}

// connectWithin is how long a machine may take to accept a connection: one that lost its
// power never answers, and waiting longer brings nothing.
const connectWithin = 3 * time.Second

// transport returns an HTTP transport that trusts the authorities of caFile, or the
// system's when it is "".
func transport(caFile string) (*http.Transport, error) {
	t := &http.Transport{
		DialContext: (&net.Dialer{Timeout: connectWithin}).DialContext,
		Proxy:       http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 4, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 5 * time.Second,
	}
	if caFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("reading ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "ca_file %s has no certificate in PEM", caFile)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}

// showCertificate lets a transport show a certificate to servers that ask for one. It is
// read anew for each connection, so that one that is renewed is taken up.
func showCertificate(t *http.Transport, certFile, keyFile string) error {
	if certFile == "" {
		return nil
	}
	load := func() (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, gatewarden.Errorf(gatewarden.Invalid, "cert_file %s with key_file %s: %w", certFile, keyFile, err)
		}
		return &cert, nil
	}
	if _, err := load(); err != nil {
		return err
	}
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	t.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return nil
}

// mutualTLS returns how guards show each other certificates of one authority.
func mutualTLS(caFile, certFile, keyFile string) (*tls.Config, error) {
	t, err := transport(caFile)
	if err != nil {
		return nil, err
	}
	if err := showCertificate(t, certFile, keyFile); err != nil {
		return nil, err
	}
	cfg := t.TLSClientConfig
	show := cfg.GetClientCertificate
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return show(nil) }
	cfg.ClientCAs, cfg.ClientAuth = cfg.RootCAs, tls.RequireAndVerifyClientCert
	return cfg, nil
}
