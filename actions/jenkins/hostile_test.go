package jenkins

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gatewarden/gatewarden"
)

// answering is a peer that gives one answer to every request.
func answering(status int, contentType string, body []byte) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {contentType}, "X-Jenkins": {"2.578"}, "Location": {string(body[:min(len(body), 100)])}}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
	})
}

// against applies an action with each memo that there can be to a peer, and holds
// what comes out to what may.
func against(t *testing.T, rt http.RoundTripper, check func(memo, gatewarden.Outcome, error)) {
	t.Helper()
	e, err := New(Config{
		URL: "http://jenkins.test", User: "gatewarden", Token: testToken, HTTPClient: &http.Client{Transport: rt},
		PollQueue: 1, PollBuild: 1, LookGap: 1, Settle: 1,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, m := range []memo{
		{}, {NextBuild: 1, Open: true, Since: now, Sent: now}, {NextBuild: 1, Open: true, Lost: true, Since: now, Sent: now},
		{Open: true, Since: now, Sent: now, QueueID: 1}, {Open: true, Since: now, Sent: now, QueueID: 1, Build: 18},
	} {
		w := &world{t: t}
		w.remember(m)
		a := w.action()
		a.Spec.Jenkins.Wait = 1 // the first look is the last
		out, err := e.Apply(t.Context(), a, func(json.RawMessage) error { return nil })
		check(m, out, err)
	}
}

func TestHostileAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"nothing":           "",
		"null":              "null",
		"an array":          "[]",
		"a number":          "1e999",
		"an empty object":   "{}",
		"half an object":    `{"number":18,"building":fal`,
		"wrong types":       `{"number":"18","building":"no","items":{},"builds":7,"property":"x","nextBuildNumber":[]}`,
		"null everywhere":   `{"items":[null],"builds":[null],"actions":[null],"property":[null],"executable":null,"buildable":null,"result":null}`,
		"numbers too big":   `{"number":99999999999999999999,"executable":{"number":1e300},"nextBuildNumber":9223372036854775807}`,
		"negative numbers":  `{"number":-18,"executable":{"number":-1},"items":[{"id":-4}],"nextBuildNumber":-1}`,
		"deep nesting":      strings.Repeat(`{"actions":[`, 50_000),
		"longer than 8 MB":  `{"items":[` + strings.Repeat(`{"id":1},`, 1<<20) + `{"id":1}]}`,
		"another's build":   `{"number":17,"building":false,"result":"SUCCESS"}`,
		"a result too soon": `{"number":18,"building":true,"result":"SUCCESS"}`,
		"a foreign action":  `{"number":18,"building":false,"result":"SUCCESS","actions":[{"parameters":[{"name":"GATEWARDEN_ACTION","value":"x"}]}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			against(t, answering(200, "application/json", []byte(body)), func(m memo, out gatewarden.Outcome, err error) {
				if err == nil && out.Status != gatewarden.ActionUnknown {
					t.Errorf("with %+v: %+v, want an error or unknown", m, out)
				}
			})
		})
	}
}

func FuzzAnswers(f *testing.F) {
	samples, err := filepath.Glob("testdata/*.json")
	if err != nil || len(samples) == 0 {
		f.Fatal("no samples", err)
	}
	for _, name := range samples {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(200, "application/json", b)
	}
	f.Add(201, "text/html", []byte("http://jenkins.test/queue/item/4711/"))
	f.Add(302, "text/html", []byte("//evil\x00/queue/item/-1"))
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		if status < 200 || status > 599 {
			return
		}
		against(t, answering(status, contentType, body), func(m memo, out gatewarden.Outcome, err error) {
			var b build
			ended := json.Unmarshal(body, &b) == nil && b.Number > 0 && !b.Building && b.Result != ""
			done := out.Status == gatewarden.ActionApplied || out.Status == gatewarden.ActionFailed && out.Change != ""
			if err == nil && done && !ended {
				t.Errorf("with %+v: %+v of %q", m, out, body)
			}
			if err == nil && out.Status == "" {
				t.Errorf("with %+v: no outcome and no error of %q", m, body)
			}
			if len(out.Details) > tailBytes || !utf8.ValidString(out.Details) || !utf8.ValidString(out.Reason) {
				t.Errorf("with %+v: %+v", m, out)
			}
		})
	})
}

func FuzzConsole(f *testing.F) {
	f.Add("line\n\x1b[31mred\x1b[0m\n\x1b[8mha:////4abc==\x1b[0m[Pipeline]\n")
	f.Add("\x1b[\x1b[8mha:\xff\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		got := lastLines(text)
		if len(got) > tailBytes || !utf8.ValidString(got) || strings.ContainsAny(got, "\x1b\x00\r") || strings.Count(got, "\n") >= tailLines {
			t.Errorf("%q", got)
		}
	})
}

func TestQueueID(t *testing.T) {
	for location, want := range map[string]int64{
		"http://jenkins:8080/queue/item/4711/":    4711,
		"https://ci.test/jenkins/queue/item/4711": 4711,
		"/queue/item/7/":                          7,
		"http://jenkins:8080/job/x/":              0,
		"http://jenkins:8080/queue/item/-1/":      -1,
		"http://jenkins:8080/queue/item/x/":       0,
		"http://jenkins:8080/queue/item/1/2/":     0,
		"http://a b/queue/item/1/":                0,
		"":                                        0,
		"/queue/item/99999999999999999999999999/": 0,
	} {
		if got := queueID(location); max(got, 0) != max(want, 0) {
			t.Errorf("%q: %d, want %d", location, got, want)
		}
	}
}

func TestJobPathAndURL(t *testing.T) {
	for _, c := range []struct {
		job, path, url string
		is             bool
	}{
		{"deploy", "/job/deploy", "http://x/job/deploy/", true},
		{"shop/orders", "/job/shop/job/orders", "https://ci.test/jenkins/job/shop/job/orders/", true},
		{"/shop/orders/", "/job/shop/job/orders", "http://x/job/shop/job/orders/", true},
		{"repo/feature%2Fx", "/job/repo/job/feature%252Fx", "http://x/job/repo/job/feature%252Fx/", true},
		{"repo/feature%2Fx", "/job/repo/job/feature%252Fx", "http://x/job/repo/job/feature%2Fx/", false},
		{"Räte & Co/a+b", "/job/R%C3%A4te%20&%20Co/job/a+b", "http://x/job/R%C3%A4te%20%26%20Co/job/a+b/", true},
		{"orders", "/job/orders", "http://x/job/shop/job/orders/", false},
		{"shop/orders", "/job/shop/job/orders", "http://x/job/old/job/shop/job/orders/", false},
		{"shop/orders", "/job/shop/job/orders", "http://x/job/orders/", false},
		{"shop/orders", "/job/shop/job/orders", "http://x/%zz", false},
		{"shop/orders", "/job/shop/job/orders", "", false},
	} {
		if got := jobPath(c.job); got != c.path {
			t.Errorf("the path of %q: %s, want %s", c.job, got, c.path)
		}
		if got := isJob(c.url, c.job); got != c.is {
			t.Errorf("%s is %q: %v, want %v", c.url, c.job, got, c.is)
		}
	}
}

// TestSamples reads what Jenkins writes, as far as it concerns us.
func TestSamples(t *testing.T) {
	read := func(name string, v any) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, v); err != nil {
			t.Fatal(name, err)
		}
	}
	var it queueItem
	if read("queue-4-left-executing.json", &it); it.Executable.Number != 18 || it.Cancelled {
		t.Errorf("%+v", it)
	}
	it = queueItem{}
	if read("queue-5-left-cancelled.json", &it); it.Executable.Number != 0 || !it.Cancelled {
		t.Errorf("%+v", it)
	}
	it = queueItem{}
	if read("queue-4b-left-no-executable-yet.json", &it); it.Executable.Number != 0 || it.Cancelled {
		t.Errorf("%+v", it)
	}
	var b build
	if read("build-2-running-result-already-unstable.json", &b); !b.Building || b.Result != "UNSTABLE" || b.Number != 18 {
		t.Errorf("%+v", b)
	}
	var list buildList
	if read("builds-scan.json", &list); list.NextBuildNumber != 19 || len(list.Builds) != 2 || list.Builds[0].QueueID != 4711 {
		t.Errorf("%+v", list)
	}
	var queue queueList
	if read("queue-list.json", &queue); len(queue.Items) != 1 || queue.Items[0].ID != 4712 || !isJob(queue.Items[0].Task.URL, "platform/kong-rollback") {
		t.Errorf("%+v", queue)
	}
	var def definition
	if read("job-parameterized.json", &def); !*def.Buildable || len(def.Property) != 2 || len(def.Property[1].ParameterDefinitions[1].Choices) != 2 {
		t.Errorf("%+v", def)
	}
}
