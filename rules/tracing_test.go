package rules

import (
	"strings"
	"testing"
)

func TestTracingSaysWhereTo(t *testing.T) {
	for text, want := range map[string]string{
		`tracing: {endpoint: "http://jaeger:4318"}`:                "",
		`tracing: {endpoint: "http://jaeger:4318", batches: 100%}`: "",
		`tracing: {batches: 5%}`:                                   "tracing has no endpoint",
		`tracing: {endpoint: "jaeger:4318"}`:                       "is no URL",
		`tracing: {endpoint: "grpc://jaeger:4317"}`:                "the scheme must be http or https",
		`tracing: {endpoint: "http://jaeger:4318", batches: 2}`:    "is not a share from 0 to 100%",
		`tracing: {endpoint: "http://jaeger:4318", batches: -1%}`:  "is not a share from 0 to 100%",
		`tracing: {endpoint: "http://jaeger:4318", batches: NaN}`:  "is not a share from 0 to 100%",
	} {
		_, problems := loadConfig(parseDocument("gatewarden.yaml", []byte(text), nil))
		if got := printed(problems); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
