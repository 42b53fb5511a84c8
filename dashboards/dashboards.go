// Package dashboards holds the Grafana dashboards of the guard, and the files that
// provision them. It stands at the end of the flow, beside the metrics that the
// dashboards ask for, and nothing of the guard runs through it.
//
// The dashboards are written in Go, because a panel is then a few lines that say what
// is particular about it. What people use is the JSON: it is committed in grafana/, a
// test keeps it equal to the code, and `go generate` writes it anew.
//
// The tests here hold the files to Grafana's shape and to the rules of its dashboard
// linter; test/prometheus runs every expression on a real Prometheus.
package dashboards

//go:generate go test -run TestCommittedJSON -update .

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
)

//go:embed grafana/*.json provisioning/*.yaml
var files embed.FS

// Files returns what Grafana reads: grafana/UID.json, the dashboards, and
// provisioning/datasources.yaml and provisioning/dashboards.yaml.
func Files() fs.FS { return files }

// All returns the dashboards that Files has as JSON.
func All() []Dashboard {
	return []Dashboard{sloOverview(), sloDetail(), canaryRun(), kongService(), guardHealth()}
}

// JSON returns the dashboard as a file of Grafana's file provisioning, which is also
// what its page for imports takes.
func (d Dashboard) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // expressions and links stay readable
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return nil, fmt.Errorf("writing the dashboard %s: %w", d.UID, err)
	}
	return b.Bytes(), nil
}
