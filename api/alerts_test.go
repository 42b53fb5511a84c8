package api

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

// hearing is a guard that takes alerts in.
type hearing struct {
	guard
	heard []gatewarden.Alert
}

func (h *hearing) Hear(_ context.Context, alerts []gatewarden.Alert) (int, error) {
	h.heard = append(h.heard, alerts...)
	return 1, h.err
}

func (h *hearing) serve() http.Handler {
	return New(h, prometheus.NewRegistry(), slog.New(slog.DiscardHandler)).Handler()
}

func TestAlertsOfARealAlertmanagerAreHeard(t *testing.T) {
	for file, want := range map[string]gatewarden.Alert{
		"alertmanager-firing-from-prometheus.json": {
			Fingerprint: "05898cb498fceadc", Summary: "burn rate high on orders", Firing: true, StartsAt: time.Date(2026, 11, 21, 20, 41, 51, 256e6, time.UTC),
			Labels: map[string]string{"alertname": "KongSLOBurnRateHigh", "cluster": "lab", "service": "orders", "severity": "page", "slo": "orders-availability"},
		},
		"alertmanager-firing-am-0.31.json": {
			Fingerprint: "3ac6b96eb66922ed", Firing: true, StartsAt: time.Date(2026, 11, 21, 20, 48, 54, 0, time.UTC),
			Labels: map[string]string{"alertname": "KongSLOBreach", "service": "billing", "severity": "ticket"},
		},
	} {
		t.Run(file, func(t *testing.T) {
			body, err := os.ReadFile(filepath.Join("testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			h := &hearing{}
			w := do(h.serve(), "POST", "/api/v1/alerts", "application/json", string(body))
			if w.Code != 200 || !strings.Contains(w.Body.String(), `"wanted": 1`) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if diff := cmp.Diff([]gatewarden.Alert{want}, h.heard); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			resolved := bytes.ReplaceAll(body, []byte(`"firing"`), []byte(`"resolved"`))
			do(h.serve(), "POST", "/api/v1/alerts", "application/json", string(resolved))
			if len(h.heard) != 2 || h.heard[1].Firing {
				t.Errorf("resolved is heard as %+v", h.heard[1:])
			}
		})
	}
}

func TestAlertsThatCannotBeReadAreRefusedWhole(t *testing.T) {
	const good = `{"status":"firing","fingerprint":"a","startsAt":"2026-11-21T20:48:54Z"}`
	for sentence, c := range map[string]struct {
		contentType, body string
		err               error
		status            int
	}{
		"another version":            {"application/json", `{"version":"3","alerts":[` + good + `]}`, nil, 400},
		"no JSON":                    {"application/json", `alerts`, nil, 400},
		"a body that is cut":         {"application/json", `{"version":"4","alerts":[` + good, nil, 400},
		"one that is too large":      {"application/json", `{"version":"4","receiver":"` + strings.Repeat("a", maxAlertsBody) + `"}`, nil, 400},
		"one without a fingerprint":  {"application/json", `{"version":"4","alerts":[` + good + `,{"status":"firing","startsAt":"2026-11-21T20:48:54Z"}]}`, nil, 400},
		"an unknown status":          {"application/json", `{"version":"4","alerts":[{"status":"odd","fingerprint":"a","startsAt":"2026-11-21T20:48:54Z"}]}`, nil, 400},
		"another content type":       {"text/plain", `{"version":"4","alerts":[` + good + `]}`, nil, 400},
		"the journal does not write": {"application/json", `{"version":"4","alerts":[` + good + `]}`, gatewarden.Errorf(gatewarden.Unavailable, "full"), 503},
	} {
		t.Run(sentence, func(t *testing.T) {
			h := &hearing{guard: guard{err: c.err}}
			w := do(h.serve(), "POST", "/api/v1/alerts", c.contentType, c.body)
			if w.Code != c.status || c.err == nil && len(h.heard) > 0 {
				t.Errorf("%d %s, heard %v", w.Code, w.Body, h.heard)
			}
		})
	}
}

func FuzzAlerts(f *testing.F) {
	files, err := filepath.Glob("testdata/alertmanager-*.json")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		alerts, err := decodeAlerts(bytes.NewReader(body))
		if err != nil && alerts != nil {
			t.Errorf("%v, and yet %d alerts", err, len(alerts))
		}
		for _, a := range alerts {
			if a.Fingerprint == "" || a.StartsAt.IsZero() {
				t.Errorf("%+v is no alert", a)
			}
		}
	})
}
