package app

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/journal/export"
	"github.com/gatewarden/gatewarden/rules"
)

// annotateBack is how far back a Grafana that has no annotations yet gets them. Each is a
// request of its own, and a graph is about the last hours; a file and Elasticsearch are for
// the record, and get all that the journal holds.
const annotateBack = 7 * 24 * time.Hour

// openAudit prepares what tells others what the journal says. Nothing is sent, nor read
// but certificates: a target that is away is tried again while the guard runs.
func (t *term) openAudit(_ context.Context, set settings) error {
	names := rules.AuditNames(set.config.Audit)
	for i := range set.config.Audit {
		entry, name := &set.config.Audit[i], names[i]
		target, err := auditTarget(entry)
		if err != nil {
			return fmt.Errorf("setting up audit's %s: %w", name, err)
		}
		cfg := export.Config{
			Name: name, Now: t.now, Logger: t.logger.With("component", "audit"),
			Registerer: prometheus.WrapRegistererWith(prometheus.Labels{"target": name}, t.registry),
		}
		if entry.Grafana != nil {
			cfg.Types, cfg.Backlog = export.Noted, annotateBack
		}
		t.exporters = append(t.exporters, export.New(cfg, audited{t.journal}, target))
	}
	return nil
}

func auditTarget(a *rules.Audit) (export.Target, error) {
	switch {
	case a.File != nil:
		return export.Lines{Path: a.File.Path}, nil
	case a.Elasticsearch != nil:
		return auditElasticsearch(a.Elasticsearch)
	default:
		return auditGrafana(a.Grafana)
	}
}

func auditElasticsearch(cfg *rules.AuditElasticsearch) (export.Target, error) {
	t, err := transport(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "the URL is none").WithHint("write http://elasticsearch:9200")
	}
	return export.NewElasticsearch(export.ElasticsearchConfig{
		URLs: []string{cfg.URL}, Stream: cfg.DataStream, Guard: cfg.Guard,
		Transport: authorized{next: t, host: u.Host, authorize: func(r *http.Request) error {
			key, err := secret(cfg.APIKey, cfg.APIKeyFile)
			if err != nil {
				return err
			}
			password, err := secret(cfg.Password, cfg.PasswordFile)
			switch {
			case err != nil:
				return err
			case key != "":
				r.Header.Set("Authorization", "ApiKey "+key)
			case cfg.User != "":
				r.SetBasicAuth(cfg.User, password)
			}
			return nil
		}},
	})
}

func auditGrafana(cfg *rules.AuditGrafana) (export.Target, error) {
	t, err := transport(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	g := export.GrafanaConfig{URL: cfg.URL, Transport: t}
	if cfg.Guard != "" {
		g.Tags = []string{cfg.Guard}
	}
	if cmp.Or(cfg.TokenFile, cfg.Token.Reveal()) != "" {
		g.Token = func() (string, error) { return secret(cfg.Token, cfg.TokenFile) }
	}
	if cfg.User != "" {
		u, err := url.Parse(cfg.URL)
		if err != nil {
			return nil, gatewarden.Errorf(gatewarden.Invalid, "the URL is none").WithHint("write http://grafana:3000")
		}
		g.Transport = authorized{next: t, host: u.Host, authorize: func(r *http.Request) error {
			password, err := secret(cfg.Password, cfg.PasswordFile)
			r.SetBasicAuth(cfg.User, password)
			return err
		}}
	}
	return export.NewGrafana(g), nil
}

// authorized sends credentials to one host, and to no other that it may send the guard on
// to. They are asked for at each request, so that new ones need no restart, and ones that
// cannot be read are a failure of that request alone.
type authorized struct {
	next      http.RoundTripper
	host      string
	authorize func(*http.Request) error
}

// RoundTrip sends a copy of r with the credentials.
func (t authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == t.host {
		r = r.Clone(r.Context())
		if err := t.authorize(r); err != nil {
			if r.Body != nil {
				_ = r.Body.Close()
			}
			return nil, err
		}
	}
	return t.next.RoundTrip(r)
}
