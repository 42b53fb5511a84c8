package api

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatewarden/gatewarden"
)

func TestWhatCannotBeWrittenIsAnError(t *testing.T) {
	w := httptest.NewRecorder()
	writeJSON(w, http.StatusOK, map[string]float64{"evidence": math.NaN()})
	var body ErrorBody
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != http.StatusInternalServerError || body.Error.Code != gatewarden.Internal {
		t.Errorf("%d %s, %v", w.Code, w.Body, err)
	}
}
