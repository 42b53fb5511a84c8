package gatewarden

import (
	"encoding/json"
	"testing"
)

// The outage line has one window only, so its JSON must not speak of a long one.
func TestAlertSaysNothingOfWindowsItHasNot(t *testing.T) {
	text, err := json.Marshal(AlertEvidence{Severity: SeverityOutage, ShortCount: Count{Good: 415}})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"severity":"outage","firing":false,"short_count":{"good":415,"bad":0,"coverage":0},"log_evidence":0}`; string(text) != want {
		t.Errorf("%s\nwant %s", text, want)
	}
}
