package app

import (
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/collector/httplog"
)

func TestTheRateIsThatOfTheLastMinute(t *testing.T) {
	var p pace
	at := noon
	for range 30 {
		p.add(at, 10)
		p.add(at.Add(time.Second/2), 10)
		at = at.Add(time.Second)
	}
	for after, want := range map[time.Duration]float64{
		30 * time.Second: 20, // since the start
		45 * time.Second: 20. * 30 / 45,
		60 * time.Second: 10,
		75 * time.Second: 5, // half of it is longer ago
		2 * time.Minute:  0,
		24 * time.Hour:   0,
	} {
		if got := p.rate(noon.Add(after), noon); math.Abs(got-want) > 1e-9 {
			t.Errorf("%s after the start: %v a second, want %v", after, got, want)
		}
	}
}

// wellOf returns what is told of a source besides its records.
func wellOf(v api.Source) [4]float64 {
	return [4]float64{v.Rate, float64(v.Duplicates), float64(v.Dropped), float64(v.Errors)}
}

func TestWhatGoesWrongWithASourceIsShown(t *testing.T) {
	s := newSights(t, "httplog")
	watched, mux := newTroubles(prometheus.NewRegistry()), http.NewServeMux()
	s.watchTroubles("httplog", watched)
	_, err := httplog.Factory().Build(collector.Env{
		Name: "httplog", Sink: s, Mux: mux, Log: slog.New(slog.DiscardHandler), Metrics: watched,
	}, func(any) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{`{"cut`, `[{"no": "record"}]`} {
		mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/ingest/kong", strings.NewReader(body)))
	}
	for range 3 {
		s.bring(t, "httplog", gatewarden.Record{Service: "orders", ID: "the same"})
	}
	s.come(t, "httplog", gatewarden.Record{Service: "orders", At: s.now.Add(time.Hour)})
	s.now = s.now.Add(2 * time.Second)
	if diff := cmp.Diff([4]float64{2, 2, 1, 2}, wellOf(s.views(s.now)[0])); diff != "" {
		t.Errorf("records a second, duplicates, dropped, errors (-want +got):\n%s", diff)
	}

	other := newSights(t, "httplog") // a guard that another one leads now
	other.heed("there", s.sights(s.now), s.now)
	if diff := cmp.Diff([4]float64{2, 2, 1, 2}, wellOf(other.views(s.now)[0])); diff != "" {
		t.Errorf("told to another guard (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([4]float64{0, 2, 1, 2}, wellOf(other.views(s.now.Add(goneAfter))[0])); diff != "" {
		t.Errorf("of a guard that is gone (-want +got):\n%s", diff)
	}
}

func TestAGuardThatIsSentNothingOfUseSaysSo(t *testing.T) {
	here, leader := newSights(t, "httplog"), newSights(t, "httplog")
	here.sources["httplog"].dropped = 7
	leader.heed("here", here.sights(noon), noon)
	v := leader.views(noon.Add(2 * time.Minute))[0]
	if v.Dropped != 7 || v.LastRecord != nil || !v.Silent {
		t.Errorf("%+v", v)
	}
}

func TestTheMetricsOfTroubleAreThoseOfTheDocument(t *testing.T) {
	doc, err := os.ReadFile("../docs/metrics.md") // which a test holds to the program
	if err != nil {
		t.Fatal(err)
	}
	names := []string{droppedBefore}
	for name := range unusable() {
		names = append(names, name)
	}
	for _, name := range names {
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("there is no metric %s", name)
		}
	}
}
