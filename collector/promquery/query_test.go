package promquery

import (
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

func TestWhatTheNumbersOfAQueryAre(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want meaning
	}{
		"as Sloth writes it":                     {`sum(rate(kong_http_requests_total{code=~"5.."}[{{.window}}]))`, perSecond},
		"with spaces in the template":            {`sum(rate(x_total[{{ .window }}]))`, perSecond},
		"with an offset and a default":           {`sum by (a) (rate(x_total{a="b"}[{{.window}}] offset 1m)) or vector(0)`, perSecond},
		"increase":                               {`sum(increase(x_total[{{.window}}]))`, inWindow},
		"increase of a ratio's side":             {`sum(increase(x_bucket{le=~"250(\\.0)?"}[{{.window}}]))`, inWindow},
		"events that are samples":                {`sum(count_over_time(probe_success[{{.window}}]))`, inWindow},
		"good samples":                           {`sum(sum_over_time(probe_success[{{.window}}]))`, inWindow},
		"two rates":                              {`sum(rate(a_total[{{.window}}])) - sum(rate(b_total[{{.window}}]))`, perSecond},
		"a subquery":                             {`sum(increase((sum(x_total) without (pod))[{{.window}}:15s]))`, inWindow},
		"a range in parentheses":                 {`sum(rate((x_total)[{{.window}}]))`, perSecond},
		"a counter":                              {`kong_http_requests_total{service="orders"}`, counter},
		"a sum of counters":                      {`sum(kong_http_requests_total{service="orders"})`, counter},
		"brackets in a string are no range":      {`sum(x_total{path="/a[5m]/{{id}}"})`, counter},
		"brackets in a comment are none":         {"sum(x_total) # not rate(x[5m])", counter},
		"a counter recorded as a sum":            {`job:http_requests_total:sum`, counter},
		"words of the language are no functions": {`sum by (service) (rate(x_total[{{.window}}])) / on () group_left () vector(1)`, perSecond},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := meaningOf(c.text)
			if err != nil || got != c.want {
				t.Errorf("%s: %d, %v", c.text, got, err)
			}
		})
	}
}

func TestQueriesThatCannotBeCounted(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"nothing":                    {``, "empty"},
		"a fixed range":              {`sum(rate(x_total[5m]))`, "fixed length"},
		"a gauge by its name":        {`job:requests:rate5m`, "named as a rate"},
		"Sloth's own ratio":          {`slo:sli_error:ratio_rate5m{sloth_id="a"}`, "named as a rate or a ratio"},
		"irate sees two samples":     {`sum(irate(x_total[{{.window}}]))`, `"irate"`},
		"an average is no count":     {`avg_over_time(x[{{.window}}])`, `"avg_over_time"`},
		"no function at all":         {`x_total[{{.window}}]`, `"nothing"`},
		"rate and increase together": {`sum(rate(a[{{.window}}])) + sum(increase(b[{{.window}}]))`, "in one expression"},
		"another template":           {`sum(rate(x_total{a="b"}[{{.window}}])) + {{.other}}`, "another template"},
		"a zero byte":                {"sum(x_total) \x00", "zero byte"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Check(&gatewarden.Query{Total: c.text, Error: "sum(x_total)"})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "total_query") || gatewarden.ErrorCode(err) != gatewarden.Invalid {
				t.Errorf("%v", err)
			}
			if err := Check(&gatewarden.Query{Total: "sum(x_total)", Good: c.text}); c.text != "" && (err == nil || !strings.Contains(err.Error(), "good_query")) {
				t.Errorf("as good_query: %v", err)
			}
		})
	}
}

func TestTheWindowIsPutIn(t *testing.T) {
	e := expression{text: `sum(rate(a[{{.window}}])) or sum(rate(b[{{ .window }}]))`}
	if got, want := e.over(90*time.Second), `sum(rate(a[1m30s])) or sum(rate(b[1m30s]))`; got != want {
		t.Errorf("%s", got)
	}
}

func FuzzQuery(f *testing.F) {
	for _, text := range []string{`sum(rate(x_total{a="b"}[{{.window}}]))`, `"`, `((((`, `))))[{{.window}}]`, "'\\", "`a`#\n[", `é[{{.window}}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		is, err := meaningOf(text)
		if err == nil && is != counter && !placeholder.MatchString(text) {
			t.Errorf("%q is %d without a window", text, is)
		}
	})
}
