package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/actions/notify"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/collector/elasticsearch"
	"github.com/gatewarden/gatewarden/collector/filelog"
	"github.com/gatewarden/gatewarden/collector/httplog"
	"github.com/gatewarden/gatewarden/collector/jaeger"
	"github.com/gatewarden/gatewarden/collector/kongmetrics"
	"github.com/gatewarden/gatewarden/collector/otlp"
	"github.com/gatewarden/gatewarden/collector/promquery"
	"github.com/gatewarden/gatewarden/collector/stdin"
	"github.com/gatewarden/gatewarden/collector/syslog"
	"github.com/gatewarden/gatewarden/collector/tcplog"
	"github.com/gatewarden/gatewarden/collector/udplog"
	"github.com/gatewarden/gatewarden/collector/zipkin"
	"github.com/gatewarden/gatewarden/rules"
)

// factories lists every kind of source. A new kind is one line here.
func factories() []collector.Factory {
	return []collector.Factory{
		httplog.Factory(),
		tcplog.Factory(),
		udplog.Factory(),
		filelog.Factory(),
		syslog.Factory(),
		stdin.Factory(os.Stdin),
		elasticsearch.Factory(),
		kongmetrics.Factory(),
		promquery.Factory(),
		otlp.Factory(),
		zipkin.Factory(),
		jaeger.Factory(),
	}
}

// logged reports whether any of the sources brings Kong's log, request by request.
func logged(sources []rules.Source) bool {
	return slices.ContainsFunc(sources, func(s rules.Source) bool { return isLog(s.Kind) })
}

// isLog reports whether sources of a kind bring Kong's log.
func isLog(kind string) bool {
	return !slices.Contains([]string{"kongmetrics", "prometheus", "otlp", "zipkin", "jaeger"}, kind)
}

// preflighter is an executor that can tell before a breach whether a step would work.
type preflighter interface {
	Preflight(ctx context.Context, step gatewarden.Step) error
}

// executors builds what carries out each kind of step that the configuration has a
// peer for. rules.Config.CheckRules has refused steps without one.
func executors(cfg *rules.Config, m mark, now func() time.Time, logger *slog.Logger, reg prometheus.Registerer) (map[gatewarden.StepKind]actions.Executor, error) {
	byKind := map[gatewarden.StepKind]actions.Executor{}
	if cfg.Kong.AdminURL != "" {
		e, err := kongExecutor(cfg.Kong, m, logger.With("component", "kong"), reg)
		if err != nil {
			return nil, fmt.Errorf("setting up the way to Kong's Admin API: %w", err)
		}
		for _, kind := range []gatewarden.StepKind{gatewarden.StepPlugin, gatewarden.StepWeight, gatewarden.StepDrain, gatewarden.StepShare, gatewarden.StepDivert, gatewarden.StepService, gatewarden.StepAdaptive} {
			byKind[kind] = e
		}
	}
	if cfg.Jenkins.URL != "" {
		e, err := jenkinsExecutor(cfg.Jenkins, now, logger.With("component", "jenkins"), reg)
		if err != nil {
			return nil, fmt.Errorf("setting up the way to Jenkins: %w", err)
		}
		byKind[gatewarden.StepJenkins] = e
	}
	tells := notify.New(notify.Config{Now: now, Registerer: reg, HTTPClient: &http.Client{Transport: traced{next: http.DefaultTransport, secretPath: true}}}, logger.With("component", "notify"))
	for _, kind := range []gatewarden.StepKind{gatewarden.StepWebhook, gatewarden.StepSlack, gatewarden.StepAlertmanager} {
		byKind[kind] = tells
	}
	return byKind, nil
}
