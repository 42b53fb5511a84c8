package rules

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAuditHasDefaultsAndPathsThatAreReadyToOpen(t *testing.T) {
	const text = `
audit:
  - file: {path: audit.jsonl}
  - elasticsearch: {url: "http://es:9200", user: ada, password_file: password, ca_file: ca.pem}
  - elasticsearch: {url: "http://es:9200", api_key_file: /run/key, data_stream: audit-eu, guard: eu}
  - grafana: {url: "http://grafana:3000", token_file: token, ca_file: ca.pem, guard: eu}
  - file: {path: /var/log/audit.jsonl}
`
	c, problems := loadConfig(parseDocument("etc/gatewarden.yaml", []byte(text), nil))
	if len(problems) > 0 {
		t.Fatal(printed(problems))
	}
	want := []Audit{
		{File: &AuditFile{Path: "etc/audit.jsonl"}},
		{Elasticsearch: &AuditElasticsearch{
			URL: "http://es:9200", User: "ada", PasswordFile: "etc/password", CAFile: "etc/ca.pem", DataStream: "gatewarden-audit", Guard: "gatewarden",
		}},
		{Elasticsearch: &AuditElasticsearch{URL: "http://es:9200", APIKeyFile: "/run/key", DataStream: "audit-eu", Guard: "eu"}},
		{Grafana: &AuditGrafana{URL: "http://grafana:3000", TokenFile: "etc/token", CAFile: "etc/ca.pem", Guard: "eu"}},
		{File: &AuditFile{Path: "/var/log/audit.jsonl"}},
	}
	if diff := cmp.Diff(want, c.Audit); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if diff := cmp.Diff([]string{"file", "elasticsearch", "elasticsearch-2", "grafana", "file-2"}, AuditNames(c.Audit)); diff != "" {
		t.Errorf("names, -want +got\n%s", diff)
	}
}
