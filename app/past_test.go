package app

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/store"
)

const day = 24 * time.Hour

func TestStepsAreThoseThatPeopleCountIn(t *testing.T) {
	for _, c := range []struct {
		window time.Duration
		points int
		want   time.Duration
	}{
		{5 * time.Minute, 181, 2 * time.Second},
		{time.Hour, 61, time.Minute},
		{time.Hour, 181, 30 * time.Second},
		{6 * time.Hour, 1000, 30 * time.Second}, // what the store can tell apart so far back
		{30 * day, 1000, time.Hour},
		{30 * day, 30, 2 * day},
		{366 * day, 2, 367 * day},
	} {
		if got := stepOf(c.window, c.points); got != c.want {
			t.Errorf("%s in %d points: steps of %s, want %s", c.window, c.points, got, c.want)
		}
	}
}

func TestAHistoryNeverHasMorePointsThanAskedFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := time.Duration(rapid.Int64Range(1, int64(366*day/time.Second)).Draw(t, "seconds")) * time.Second
		points := rapid.IntRange(2, 1000).Draw(t, "points")
		to := time.Unix(rapid.Int64Range(1e9, 4e9).Draw(t, "now"), 0)
		step := stepOf(window, points)
		from := to.Add(-window).Truncate(step)
		if n := int((to.Sub(from) + step - 1) / step); n > points {
			t.Errorf("%s in steps of %s are %d points, at most %d were asked for", window, step, n, points)
		}
		if step < store.Resolution(window) {
			t.Errorf("steps of %s over %s are shorter than what the store can tell apart", step, window)
		}
	})
}

func TestTheWindowIsTheSLOsOwnUnlessAnotherIsAskedFor(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 4, 5, 6, time.UTC)
	rolling := &gatewarden.SLO{Window: gatewarden.BudgetWindow{Rolling: 6 * time.Hour}}
	month := &gatewarden.SLO{Window: gatewarden.BudgetWindow{Calendar: "month"}}
	for sentence, c := range map[string]struct {
		slo    *gatewarden.SLO
		window time.Duration
		want   time.Time
	}{
		"rolling":          {rolling, 0, time.Date(2026, 11, 21, 21, 4, 5, 0, time.UTC)},
		"calendar":         {month, 0, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)},
		"another than its": {month, time.Minute, time.Date(2026, 11, 22, 3, 3, 5, 0, time.UTC)},
	} {
		if from, to := spanOf(c.slo, c.window, now); !from.Equal(c.want) || !to.Equal(now.Truncate(time.Second)) {
			t.Errorf("%s: from %s to %s, want from %s", sentence, from, to, c.want)
		}
	}
}

func TestOnlyWhatIsWithinAnSLOIsAPartOfIt(t *testing.T) {
	orders := gatewarden.Series{Service: "orders"}
	for sentence, c := range map[string]struct {
		whole, part gatewarden.Series
		want        bool
	}{
		"a route of the service":        {orders, gatewarden.Series{Service: "orders", Route: "list"}, true},
		"another service's route":       {orders, gatewarden.Series{Service: "payments", Route: "list"}, false},
		"any route, of the gateway":     {gatewarden.Series{}, gatewarden.Series{Service: "payments", Route: "list"}, true},
		"a consumer of the service":     {orders, gatewarden.Series{Service: "orders", Consumer: "ada"}, true},
		"what is beyond the limit":      {gatewarden.Series{}, gatewarden.Series{Service: gatewarden.Overflow}, false},
		"a tag, which says nothing":     {gatewarden.Series{Tag: "shop"}, gatewarden.Series{Service: "orders", Route: "list"}, false},
		"the service of a route's part": {gatewarden.Series{Service: "orders", Route: "list"}, orders, false},
	} {
		if got := narrower(c.whole, c.part); got != c.want {
			t.Errorf("%s: %v", sentence, got)
		}
	}
}

func TestTheWorstPartComesFirst(t *testing.T) {
	part := func(route string, requests, bad uint64) api.Part {
		return api.Part{Series: gatewarden.Series{Route: route}, Requests: requests, Count: &gatewarden.Count{Bad: bad}}
	}
	var got []string
	for _, p := range worstFirst([]api.Part{part("quiet", 0, 0), part("large", 900, 1), {Series: gatewarden.Series{Route: "unknown"}, Requests: 5}, part("bad", 10, 7)}) {
		got = append(got, p.Series.Route)
	}
	if diff := cmp.Diff([]string{"bad", "large", "unknown"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
