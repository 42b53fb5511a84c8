package api

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// maxAlertsBody bounds a webhook of Alertmanager, which carries all alerts of a group.
const maxAlertsBody = 4 << 20

// Hearer is a Guard that alerts of others can start actions of.
type Hearer interface {
	// Hear takes alerts in and returns how many of them an action wants.
	Hear(ctx context.Context, alerts []gatewarden.Alert) (wanted int, err error)
}

// alertsBody is a webhook of Alertmanager, version 4, as far as it is read.
type alertsBody struct {
	Version string `json:"version"`
	Alerts  []struct {
		Status      string            `json:"status"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		StartsAt    time.Time         `json:"startsAt"`
		Fingerprint string            `json:"fingerprint"`
	} `json:"alerts"`
}

// heard is the answer to one.
type heard struct {
	Alerts int `json:"alerts"` // taken in
	Wanted int `json:"wanted"` // of those, by an action
}

func (s *Server) alerts(r *http.Request) (any, error) {
	hearer, ok := s.guard.(Hearer)
	if !ok {
		return nil, gatewarden.Errorf(gatewarden.NotFound, "this guard takes no alerts")
	}
	// A foreign web page in an operator's browser cannot send this type unasked.
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "the request must have the content type application/json")
	}
	alerts, err := decodeAlerts(io.LimitReader(r.Body, maxAlertsBody))
	if err != nil {
		return nil, err
	}
	wanted, err := hearer.Hear(r.Context(), alerts)
	return heard{len(alerts), wanted}, err
}

// decodeAlerts reads a webhook whole. It takes fields that it does not know: versions of
// Alertmanager add some.
func decodeAlerts(body io.Reader) ([]gatewarden.Alert, error) {
	var b alertsBody
	if err := json.NewDecoder(body).Decode(&b); err != nil {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "the body is no webhook of Alertmanager: %v", err)
	}
	if b.Version != "4" {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "the webhook is of version %q, and 4 is read", b.Version).
			WithHint("name this address under webhook_configs of an Alertmanager's receiver")
	}
	list := make([]gatewarden.Alert, 0, len(b.Alerts))
	for i, a := range b.Alerts {
		if a.Fingerprint == "" || !slices.Contains([]string{"firing", "resolved"}, a.Status) || a.StartsAt.IsZero() {
			return nil, gatewarden.Errorf(gatewarden.Invalid, "alert %d of the webhook has no fingerprint, no startsAt, or the status %q", i+1, a.Status)
		}
		list = append(list, gatewarden.Alert{
			Fingerprint: a.Fingerprint, Labels: a.Labels, Firing: a.Status == "firing", StartsAt: a.StartsAt,
			Summary: cmp.Or(a.Annotations["summary"], a.Annotations["description"], a.Annotations["message"]),
		})
	}
	return list, nil
}
