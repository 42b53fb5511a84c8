// Command otelcol is an OpenTelemetry Collector that does what the guard does with Kong's
// log, for `make bench` to measure beside it: it takes lines by HTTP, decodes them, and
// counts requests and their latencies by service, route and status, for Prometheus.
//
// It is put together as the collector's builder does it, of the collector's own modules.
// Only the receiver is ours, because the module of the one that takes HTTP bodies
// (webhookeventreceiver) can't be had from everywhere; it does less than that one does.
//
// It prints the address that it takes lines at.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/signaltometricsconnector"
	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/prometheusexporter"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/deltatocumulativeprocessor"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/transformprocessor"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

// settings are the whole pipeline. The defaults of the components are kept, but for what
// Prometheus needs: cumulative counters.
const settings = `
receivers: {lines: {}}
processors:
  transform:
    error_mode: ignore
    log_statements:
      - statements:
          - set(log.cache, ParseJSON(log.body))
          - set(log.attributes["service"], log.cache["service"]["name"])
          - set(log.attributes["route"], log.cache["route"]["name"])
          - set(log.attributes["code"], Int(log.cache["response"]["status"]))
          - set(log.attributes["request_ms"], Double(log.cache["latencies"]["request"]))
  deltatocumulative: {}
connectors:
  signal_to_metrics:
    logs:
      - name: requests
        attributes: [{key: service}, {key: route}, {key: code}]
        sum: {value: "1", monotonic: true}
      - name: latency
        attributes: [{key: service}, {key: route}]
        histogram: {value: 'log.attributes["request_ms"]', buckets: [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000]}
exporters:
  prometheus: {endpoint: "127.0.0.1:0"}
service:
  telemetry: {metrics: {level: none}, logs: {level: error}}
  pipelines:
    logs: {receivers: [lines], processors: [transform], exporters: [signal_to_metrics]}
    metrics: {receivers: [signal_to_metrics], processors: [deltatocumulative], exporters: [prometheus]}
`

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintf(os.Stderr, "otelcol: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	c, err := otelcol.NewCollector(otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "otelcol", Description: "measured beside gatewarden"},
		Factories: factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{ResolverSettings: confmap.ResolverSettings{
			URIs: []string{"yaml:" + settings}, ProviderFactories: []confmap.ProviderFactory{yamlprovider.NewFactory()},
		}},
	})
	if err != nil {
		return fmt.Errorf("building the collector: %w", err)
	}
	return c.Run(ctx)
}

func factories() (otelcol.Factories, error) {
	f := otelcol.Factories{Telemetry: otelconftelemetry.NewFactory()}
	var err error
	if f.Receivers, err = otelcol.MakeFactoryMap[receiver.Factory](linesFactory()); err != nil {
		return f, err
	}
	if f.Processors, err = otelcol.MakeFactoryMap[processor.Factory](transformprocessor.NewFactory(), deltatocumulativeprocessor.NewFactory()); err != nil {
		return f, err
	}
	if f.Connectors, err = otelcol.MakeFactoryMap[connector.Factory](signaltometricsconnector.NewFactory()); err != nil {
		return f, err
	}
	f.Exporters, err = otelcol.MakeFactoryMap[exporter.Factory](prometheusexporter.NewFactory())
	return f, err
}
