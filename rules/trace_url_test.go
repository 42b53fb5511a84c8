package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheTraceURLSaysWhereTheIDGoes(t *testing.T) {
	for text, want := range map[string]string{
		`web: {trace_url: "http://jaeger:16686/trace/{trace_id}"}`: "",
		`web: {trace_url: "http://jaeger:16686/trace/"}`:           "does not say where the trace's id goes",
		`web: {trace_url: "javascript:{trace_id}"}`:                "no URL",
		`web: {trace_url: "ftp://jaeger/{trace_id}"}`:              "the scheme must be http or https",
	} {
		file := filepath.Join(t.TempDir(), "gatewarden.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, problems := LoadConfig(file, func(string) (string, bool) { return "", false })
		got := ""
		for _, p := range problems {
			got += p.String() + "\n"
		}
		if want == "" {
			if got != "" || c.Web.TraceURL == "" {
				t.Errorf("%s: %s", text, got)
			}
		} else if !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
