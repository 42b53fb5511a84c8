package gatewarden

import "testing"

func TestASeriesMatchesWhatItsFieldsName(t *testing.T) {
	r := Record{Workspace: "default", Service: "orders", Route: "list", Consumer: "ann", Tags: []string{"core", "version:v2"}}
	for name, c := range map[string]struct {
		series Series
		want   bool
	}{
		"the zero series is the whole gateway": {Series{}, true},
		"a service":                            {Series{Service: "orders"}, true},
		"another service":                      {Series{Service: "payments"}, false},
		"a route":                              {Series{Route: "list"}, true},
		"a route of another service":           {Series{Service: "payments", Route: "list"}, false},
		"a consumer":                           {Series{Consumer: "ann"}, true},
		"another consumer":                     {Series{Service: "orders", Consumer: "bob"}, false},
		"a workspace":                          {Series{Workspace: "default"}, true},
		"another workspace":                    {Series{Workspace: "west"}, false},
		"any of the tags":                      {Series{Tag: "version:v2"}, true},
		"a part of a tag is not the tag":       {Series{Tag: "version"}, false},
		"everything at once":                   {Series{"", "default", "orders", "list", "ann", "core"}, true},
		"another signal":                       {Series{Signal: SignalTraces, Service: "orders"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.series.Matches(&r); got != c.want {
				t.Errorf("%s matches: %v, want %v", c.series, got, c.want)
			}
		})
	}
}

func TestASeriesPrintsAsLabels(t *testing.T) {
	for want, s := range map[string]Series{
		"everything":                      {},
		`service="orders"`:                {Service: "orders"},
		`service="orders",route="list"`:   {Service: "orders", Route: "list"},
		`workspace="w",tag="a"`:           {Workspace: "w", Tag: "a"},
		`consumer="ann"`:                  {Consumer: "ann"},
		`route="list",consumer="ann"`:     {Route: "list", Consumer: "ann"},
		`service="` + Overflow + `"`:      {Service: Overflow},
		`signal="traces",tag="server"`:    {Signal: SignalTraces, Tag: "server"},
		`workspace="w",service="orders"`:  {Workspace: "w", Service: "orders"},
		`service="orders",tag="critical"`: {Service: "orders", Tag: "critical"},
	} {
		if got := s.String(); got != want {
			t.Errorf("String() = %s, want %s", got, want)
		}
	}
}
