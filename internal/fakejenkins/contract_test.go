package fakejenkins

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	jobName = "platform/kong-rollback"
	jobURL  = "/job/platform/job/kong-rollback"
	token   = "11aabbccddeeff00112233445566778899"
	host    = "http://jenkins.test:8080"
)

// world is a server with the job of the samples, in virtual time.
type world struct {
	*Server
	t      *testing.T
	client *http.Client
}

// newWorld must be called inside a bubble.
func newWorld(t *testing.T, cfg Config, job Job) *world {
	t.Helper()
	cfg.PublicURL = host
	cfg.Users = append(cfg.Users,
		User{Name: "gatewarden", Tokens: []string{token}, Password: "secret", Permissions: Operator()},
		User{Name: "reader", Tokens: []string{token}, Permissions: []Permission{OverallRead, JobRead}},
		User{Name: "finder", Tokens: []string{token}, Permissions: []Permission{OverallRead, JobDiscover}},
		User{Name: "nobody", Tokens: []string{token}, Permissions: []Permission{OverallRead}})
	s := New(cfg)
	s.SetJob(job)
	client, stop := s.InMemory()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(func() {
		s.Close()
		stop()
	})
	return &world{Server: s, t: t, client: client}
}

func sampleJob() Job {
	return Job{Name: jobName, Serial: true, Parameters: []Parameter{
		{Name: "INCIDENT_ID"}, {Name: "SERVICE"}, {Name: "TARGET_VERSION"}, {Name: "DRY_RUN", Type: BooleanParameter},
	}}
}

var sampleValues = url.Values{
	"INCIDENT_ID": {"inc-20261121-0042"}, "SERVICE": {"orders"}, "TARGET_VERSION": {"1.4.0"}, "DRY_RUN": {"false"},
}

type request struct {
	method, path, user, secret string
	form                       url.Values
	header                     http.Header
}

func (w *world) do(r request) (*http.Response, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), r.method, host+r.path, strings.NewReader(r.form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	maps.Copy(req.Header, r.header)
	if r.method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if r.user != "" {
		req.SetBasicAuth(r.user, r.secret)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, string(b)
}

func (w *world) get(path string) any {
	w.t.Helper()
	resp, body := w.do(request{method: "GET", path: path, user: "gatewarden", secret: token})
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		w.t.Fatalf("GET %s: %d %s: %v", path, resp.StatusCode, body, err)
	}
	return v
}

func (w *world) trigger(delay string, values url.Values) *http.Response {
	w.t.Helper()
	resp, body := w.do(request{method: "POST", path: jobURL + "/buildWithParameters?delay=" + delay, user: "gatewarden", secret: token, form: values})
	if resp.StatusCode != http.StatusCreated {
		w.t.Fatalf("trigger: %d %s", resp.StatusCode, body)
	}
	return resp
}

// blockingPipeline runs until something is sent, with what it is to end in.
func blockingPipeline(end <-chan Result) Pipeline {
	return func(ctx context.Context, b *Build) error {
		select {
		case r := <-end:
			b.SetResult(r)
		case <-ctx.Done():
		}
		return nil
	}
}

var digits = regexp.MustCompile(`\d+`)

// alike makes two answers alike but for what must differ: times, numbers,
// random text, and the actions that carry nothing.
func alike(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, value := range v {
			switch k {
			case "crumb":
				out[k] = "random"
			case "actions":
				out[k] = carrying(value)
			default:
				out[k] = alike(value)
			}
		}
		return out
	case []any:
		out := []any{}
		for _, value := range v {
			out = append(out, alike(value))
		}
		return out
	case string:
		return digits.ReplaceAllString(v, "N")
	case float64:
		return 0.0
	default:
		return v
	}
}

func carrying(v any) any {
	out := []any{}
	for _, a := range v.([]any) {
		if m, ok := a.(map[string]any); ok && (m["parameters"] != nil || m["causes"] != nil) {
			out = append(out, alike(m))
		}
	}
	return out
}

func sample(t *testing.T, name string) any {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestShapes holds the JSON of every state of items, builds and jobs to the
// samples, name by name, type by type and class by class.
func TestShapes(t *testing.T) {
	item := func(w *world) any { return w.get("/queue/item/2/api/json") }
	build := func(w *world) any { return w.get(jobURL + "/2/api/json") }
	ends := func(r Result) func(*world, chan<- Result) any {
		return func(w *world, end chan<- Result) any {
			w.trigger("0sec", sampleValues)
			synctest.Wait()
			end <- r
			synctest.Wait()
			return build(w)
		}
	}
	for name, scene := range map[string]func(w *world, end chan<- Result) any{
		"queue-1-waiting.json": func(w *world, _ chan<- Result) any {
			w.trigger("5sec", sampleValues)
			return item(w)
		},
		"queue-2-blocked.json": func(w *world, _ chan<- Result) any {
			w.trigger("0sec", url.Values{"INCIDENT_ID": {"another"}})
			synctest.Wait()
			w.trigger("0sec", sampleValues)
			synctest.Wait()
			return w.get("/queue/item/3/api/json")
		},
		"queue-3-buildable.json": func(w *world, _ chan<- Result) any {
			w.SetExecutors(0)
			w.trigger("0sec", sampleValues)
			synctest.Wait()
			return item(w)
		},
		"queue-3b-buildable-shutdown.json": func(w *world, _ chan<- Result) any {
			w.QuietDown(true)
			w.trigger("0sec", sampleValues)
			synctest.Wait()
			return item(w)
		},
		"queue-4-left-executing.json": func(w *world, _ chan<- Result) any {
			w.trigger("0sec", sampleValues)
			time.Sleep(time.Second)
			return item(w)
		},
		"queue-4b-left-no-executable-yet.json": func(w *world, _ chan<- Result) any {
			w.trigger("0sec", sampleValues)
			synctest.Wait()
			return item(w)
		},
		"queue-5-left-cancelled.json": func(w *world, _ chan<- Result) any {
			w.trigger("9sec", sampleValues)
			if resp, _ := w.do(request{method: "POST", path: "/queue/cancelItem?id=2", user: "gatewarden", secret: token}); resp.StatusCode != http.StatusNoContent {
				w.t.Errorf("cancelItem answered %d", resp.StatusCode)
			}
			return item(w)
		},
		"build-1-running.json": func(w *world, _ chan<- Result) any {
			w.trigger("0sec", sampleValues)
			time.Sleep(time.Second)
			return build(w)
		},
		"build-3-success.json":   ends(Success),
		"build-3-unstable.json":  ends(Unstable),
		"build-3-failure.json":   ends(Failure),
		"build-3-not_built.json": ends(NotBuilt),
		"build-3-aborted.json": func(w *world, _ chan<- Result) any {
			w.trigger("0sec", sampleValues)
			time.Sleep(time.Second)
			if resp, _ := w.do(request{method: "POST", path: jobURL + "/2/stop", user: "gatewarden", secret: token}); resp.StatusCode != http.StatusFound {
				w.t.Errorf("stop answered %d", resp.StatusCode)
			}
			synctest.Wait()
			return build(w)
		},
		"queue-list.json": func(w *world, _ chan<- Result) any {
			w.trigger("0sec", sampleValues)
			synctest.Wait()
			w.trigger("0sec", url.Values{"INCIDENT_ID": {"inc-20261121-0043"}})
			synctest.Wait()
			v := w.get("/queue/api/json?tree=items[id,why,task[url],actions[parameters[name,value]]]")
			return onlyIncident(v)
		},
		"builds-scan.json": func(w *world, _ chan<- Result) any {
			w.trigger("0sec", sampleValues)
			time.Sleep(time.Second)
			w.trigger("0sec", url.Values{"INCIDENT_ID": {"inc-20261121-0043"}})
			synctest.Wait()
			v := w.get(jobURL + "/api/json?tree=buildable,inQueue,nextBuildNumber,queueItem[id,actions[parameters[name,value]]]," +
				"builds[number,queueId,building,result,timestamp,actions[parameters[name,value]]]%7B0,100%7D")
			return onlyIncident(v)
		},
		"crumb.json": func(w *world, _ chan<- Result) any {
			return w.get("/crumbIssuer/api/json")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				end := make(chan Result)
				job := sampleJob()
				gap := time.Duration(0)
				if strings.HasPrefix(name, "queue-4b") {
					gap = time.Minute
				}
				w := newWorld(t, Config{StartGap: gap}, job)
				w.trigger("0sec", url.Values{"INCIDENT_ID": {"inc-20261120-0040"}})
				time.Sleep(2 * time.Minute)
				job.Pipeline = blockingPipeline(end)
				w.SetJob(job)
				if diff := cmp.Diff(alike(sample(t, name)), alike(scene(w, end))); diff != "" {
					t.Errorf("(-sample +stand-in)\n%s", diff)
				}
			})
		})
	}
}

// onlyIncident leaves of all parameters the one that the sample shows.
func onlyIncident(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, value := range v {
			if k == "parameters" {
				value = value.([]any)[:1]
			}
			v[k] = onlyIncident(value)
		}
	case []any:
		for i := range v {
			v[i] = onlyIncident(v[i])
		}
	}
	return v
}

func TestRunningBuildCanBeUnstableAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		job := sampleJob()
		w := newWorld(t, Config{}, job)
		w.trigger("0sec", url.Values{"INCIDENT_ID": {"inc-20261120-0040"}})
		synctest.Wait()
		job.Pipeline = func(ctx context.Context, b *Build) error {
			b.SetResult(Unstable)
			<-ctx.Done()
			return nil
		}
		w.SetJob(job)
		w.trigger("0sec", sampleValues)
		synctest.Wait()
		if diff := cmp.Diff(alike(sample(t, "build-2-running-result-already-unstable.json")), alike(w.get(jobURL+"/2/api/json"))); diff != "" {
			t.Errorf("(-sample +stand-in)\n%s", diff)
		}
	})
}

func TestShapeOfJobs(t *testing.T) {
	for name, parameters := range map[string][]Parameter{
		"job-not-parameterized.json": nil,
		"job-parameterized.json": {
			{Name: "INCIDENT_ID"}, {Name: "ACTION", Type: ChoiceParameter, Choices: []string{"rollback", "dry-run"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{}, Job{Name: jobName, Serial: parameters != nil, Parameters: parameters})
				tree := "name,buildable,property[parameterDefinitions[name,type,choices,defaultParameterValue[name,value]]]"
				if parameters != nil {
					tree += ",concurrentBuild"
				}
				if diff := cmp.Diff(sample(t, name), w.get(jobURL+"/api/json?tree="+tree)); diff != "" {
					t.Errorf("(-sample +stand-in)\n%s", diff)
				}
			})
		})
	}
}

// transcripts are the answers of testdata/http-transcripts.txt by their title:
// the status, and the headers that it shows.
func transcripts(t *testing.T) map[string]http.Header {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "http-transcripts.txt"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]http.Header{}
	for section := range strings.SplitSeq(string(b), "\n### ") {
		title, rest, _ := strings.Cut(section, "\n")
		lines := strings.Split(rest, "\n")
		for i, line := range lines {
			status, ok := strings.CutPrefix(line, "HTTP/1.1 ")
			if !ok {
				continue
			}
			h := http.Header{"Status": {status[:3]}}
			for _, l := range lines[i+1:] {
				k, v, ok := strings.Cut(l, ": ")
				if !ok {
					break
				}
				h.Add(k, v)
			}
			out[title] = h
		}
	}
	return out
}

// TestTranscripts plays every exchange of the transcripts.
func TestTranscripts(t *testing.T) {
	path := jobURL + "/buildWithParameters?delay=9sec"
	post := request{method: "POST", path: path, user: "gatewarden", secret: token, form: sampleValues}
	plain := func(change func(*request)) func(*world) request {
		return func(*world) request {
			r := post
			change(&r)
			return r
		}
	}
	scenes := map[string]func(*world) request{
		"created": plain(func(*request) {}),
		"an equal item is already in the queue: folded into it (buildWithParameters only)": func(w *world) request {
			w.trigger("9sec", sampleValues)
			return post
		},
		"the queue refused it (QueueDecisionHandler veto), or POST /build with json that was folded into an existing item": func(w *world) request {
			w.trigger("9sec", url.Values{})
			r := post
			r.path, r.form = jobURL+"/build?delay=9sec", url.Values{"json": {`{"parameter":[]}`}}
			return r
		},
		"wrong user/token with a Basic header (also when anonymous read is on)": plain(func(r *request) { r.secret = "wrong" }),
		"authenticated, no Job/Build":                                           plain(func(r *request) { r.user = "reader" }),
		"password (not API token) without a valid crumb":                        plain(func(r *request) { r.secret = "secret" }),
		"no permission even to discover the job, or no such job":                plain(func(r *request) { r.path = "/job/platform/job/none/buildWithParameters" }),
		"GET instead of POST":                                                   plain(func(r *request) { r.method = "GET" }),
		"disabled job (or parent folder/branch project not buildable)": func(w *world) request {
			job := sampleJob()
			job.Disabled = true
			w.SetJob(job)
			return post
		},
		"not parameterized": func(w *world) request {
			w.SetJob(Job{Name: jobName})
			return post
		},
		"starting or restarting": func(w *world) request {
			w.Restart(time.Minute)
			return post
		},
		"POST /build with json on a parameterized job": plain(func(r *request) {
			r.path = jobURL + "/build?delay=0sec"
			r.form = url.Values{"json": {`{"parameter":[{"name":"INCIDENT_ID","value":"inc-20261121-0042"}]}`}}
		}),
		"POST /build on a parameterized job with an empty body / with form fields but no json": plain(func(r *request) { r.path = jobURL + "/build" }),
		"bad choice value, the same parameter sent twice (query + body), unknown name in /build json": plain(func(r *request) {
			r.path += "&SERVICE=payments"
		}),
	}
	for title, want := range transcripts(t) {
		scene, ok := scenes[title]
		if !ok {
			t.Errorf("no scene for %q", title)
			continue
		}
		t.Run(title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{}, sampleJob())
				resp, body := w.do(scene(w))
				if got := resp.Status[:3]; got != want.Get("Status") {
					t.Fatalf("status %s, want %s: %s", got, want.Get("Status"), body)
				}
				for k, v := range want {
					if !slices.Contains([]string{"Location", "Www-Authenticate", "Allow", "X-Required-Permission", "X-Permission-Implied-By", "Cache-Control"}, k) {
						continue
					}
					if diff := cmp.Diff(alike(strings.Join(v, ",")), alike(strings.Join(resp.Header.Values(k), ","))); diff != "" {
						t.Errorf("%s (-transcript +stand-in)\n%s", k, diff)
					}
				}
			})
		})
	}
}
