package fakejenkins

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// bubble runs a scene against a server with the sample job, in virtual time.
func bubble(t *testing.T, cfg Config, job Job, scene func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { scene(t, newWorld(t, cfg, job)) })
}

func (w *world) post(path string, form url.Values) *http.Response {
	w.t.Helper()
	resp, _ := w.do(request{method: "POST", path: path, user: "gatewarden", secret: token, form: form})
	return resp
}

func TestFolding(t *testing.T) {
	path := jobURL + "/buildWithParameters?delay=9sec"
	job := sampleJob()
	job.Parameters = append(job.Parameters, Parameter{Name: "KEY", Type: PasswordParameter})
	for name, c := range map[string]struct {
		first, second url.Values
		between       time.Duration
		want, builds  int
	}{
		"equal values while it waits are folded":            {sampleValues, sampleValues, 0, 303, 1},
		"equal values after it started are a second build":  {sampleValues, sampleValues, 20 * time.Second, 201, 2},
		"another value is another item":                     {sampleValues, url.Values{"SERVICE": {"payments"}}, 0, 201, 2},
		"a default given in words is the default":           {url.Values{}, url.Values{"DRY_RUN": {"false"}, "SERVICE": {""}}, 0, 303, 1},
		"passwords are compared by name only":               {url.Values{"KEY": {"a"}}, url.Values{"KEY": {"b"}}, 0, 303, 1},
		"an undeclared parameter is dropped without a word": {url.Values{"NOBODY": {"1"}}, url.Values{"NOBODY": {"2"}}, 0, 303, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, job, func(t *testing.T, w *world) {
				w.post(path, c.first)
				time.Sleep(c.between)
				if got := w.post(path, c.second).StatusCode; got != c.want {
					t.Errorf("the second request: %d, want %d", got, c.want)
				}
				time.Sleep(time.Minute)
				runs := w.Runs(jobName)
				if len(runs) != c.builds {
					t.Errorf("%d builds, want %d", len(runs), c.builds)
				}
				if _, ok := runs[0].Parameters["NOBODY"]; ok {
					t.Error("an undeclared parameter reached the build")
				}
			})
		})
	}
}

func TestStatuses(t *testing.T) {
	choice := sampleJob()
	choice.TriggerToken = "let-me"
	choice.Parameters = append(choice.Parameters, Parameter{Name: "ACTION", Type: ChoiceParameter, Choices: []string{"rollback", "dry-run"}})
	build := jobURL + "/buildWithParameters"
	post := func(path string, form url.Values) request {
		return request{method: "POST", path: path, user: "gatewarden", secret: token, form: form}
	}
	as := func(user, path string) request { return request{method: "GET", path: path, user: user, secret: token} }
	for name, c := range map[string]struct {
		request
		want int
	}{
		"an illegal choice":                           {post(build, url.Values{"ACTION": {"explode"}}), 500},
		"a bad delay":                                 {post(build+"?delay=soon", nil), 500},
		"an unknown name in json":                     {post(jobURL+"/build", url.Values{"json": {`{"parameter":{"name":"X","value":"1"}}`}}), 500},
		"form fields without json":                    {post(jobURL+"/build", url.Values{"SERVICE": {"orders"}}), 400},
		"a wrong trigger token":                       {post(build+"?token=no", nil), 403},
		"GET with the trigger token":                  {as("reader", build+"?token=let-me"), 201},
		"a hidden job looks like a missing one":       {as("nobody", jobURL+"/api/json"), 404},
		"a job that may be discovered but not read":   {as("finder", jobURL+"/api/json"), 403},
		"an item that may be discovered but not read": {as("finder", "/queue/item/1/api/json"), 403},
		"an item that is unknown":                     {as("gatewarden", "/queue/item/99/api/json"), 404},
		"an item that may not be discovered":          {as("nobody", "/queue/item/1/api/json"), 404},
		"a folder":                                    {as("reader", "/job/platform/api/json"), 200},
		"no credentials":                              {request{method: "GET", path: "/api/json"}, 403},
		"the login page without credentials":          {request{method: "GET", path: "/login"}, 200},
		"a build that is none":                        {as("reader", jobURL+"/77/api/json"), 404},
		"cancelling an unknown item":                  {post("/queue/cancelItem?id=99", nil), 404},
		"cancelling by GET":                           {as("gatewarden", "/queue/cancelItem?id=1"), 405},
		"stopping without the permission":             {request{method: "POST", path: jobURL + "/1/stop", user: "reader", secret: token}, 403},
		"stopping by GET":                             {as("gatewarden", jobURL+"/1/stop"), 405},
		"stopping what has ended":                     {post(jobURL+"/1/stop", nil), 302},
		"a malformed tree":                            {as("reader", jobURL+"/api/json?tree=a%5Bb"), 500},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, choice, func(t *testing.T, w *world) {
				w.post(build+"?delay=60sec", url.Values{"SERVICE": {"inventory"}}) // item 1
				w.post(build+"?delay=0", url.Values{"SERVICE": {"payments"}})      // build 1
				synctest.Wait()
				if resp, body := w.do(c.request); resp.StatusCode != c.want {
					t.Errorf("%d, want %d: %s", resp.StatusCode, c.want, body)
				}
			})
		})
	}
}

func TestPasswordNeedsCrumbOfItsSession(t *testing.T) {
	bubble(t, Config{}, sampleJob(), func(t *testing.T, w *world) {
		resp, body := w.do(request{method: "GET", path: "/crumbIssuer/api/json", user: "gatewarden", secret: "secret"})
		crumb, _, _ := strings.Cut(strings.SplitAfter(body, `"crumb":"`)[1], `"`)
		cookie, _, _ := strings.Cut(resp.Header.Get("Set-Cookie"), ";")
		with := func(h http.Header) int {
			resp, _ := w.do(request{method: "POST", path: jobURL + "/buildWithParameters", user: "gatewarden", secret: "secret", header: h})
			return resp.StatusCode
		}
		if got := with(http.Header{"Jenkins-Crumb": {crumb}}); got != 403 {
			t.Errorf("the crumb without its session: %d, want 403", got)
		}
		if got := with(http.Header{"Jenkins-Crumb": {crumb}, "Cookie": {cookie}}); got != 201 {
			t.Errorf("the crumb with its session: %d, want 201", got)
		}
		w.EndSessions()
		if got := with(http.Header{"Jenkins-Crumb": {crumb}, "Cookie": {cookie}}); got != 403 {
			t.Errorf("the crumb of a session that ended: %d, want 403", got)
		}
	})
}

func TestResults(t *testing.T) {
	for name, c := range map[string]struct {
		pipeline Pipeline
		want     Result
	}{
		"no pipeline":            {nil, Success},
		"nil":                    {func(context.Context, *Build) error { return nil }, Success},
		"an error":               {func(context.Context, *Build) error { return errors.New("kubectl: no") }, Failure},
		"an error does not mend": {func(_ context.Context, b *Build) error { b.SetResult(NotBuilt); return errors.New("x") }, NotBuilt},
		"a result only worsens":  {func(_ context.Context, b *Build) error { b.SetResult(Unstable); b.SetResult(Success); return nil }, Unstable},
	} {
		t.Run(name, func(t *testing.T) {
			job := sampleJob()
			job.Pipeline = c.pipeline
			bubble(t, Config{}, job, func(t *testing.T, w *world) {
				w.trigger("0", sampleValues)
				synctest.Wait()
				run := w.Runs(jobName)[0]
				if run.Result != c.want || run.Building || !strings.Contains(run.Console, "Finished: "+string(c.want)) {
					t.Errorf("%+v, want %s", run, c.want)
				}
			})
		})
	}
}

func TestExecutorsAndSerialJobsHoldBuildsBack(t *testing.T) {
	slow := func(ctx context.Context, _ *Build) error {
		select {
		case <-ctx.Done():
		case <-time.After(time.Minute):
		}
		return nil
	}
	running := func(w *world) (n int) {
		for _, r := range w.Runs(jobName) {
			if r.Building {
				n++
			}
		}
		return n
	}
	for serial, want := range map[bool]int{true: 1, false: 2} {
		t.Run(fmt.Sprintf("serial=%v", serial), func(t *testing.T) {
			job := sampleJob()
			job.Serial, job.Pipeline = serial, slow
			bubble(t, Config{Executors: 2}, job, func(t *testing.T, w *world) {
				for i := range 4 {
					w.trigger("0", url.Values{"SERVICE": {fmt.Sprint(i)}})
				}
				time.Sleep(time.Second)
				if got := running(w); got != want {
					t.Errorf("%d builds at once, want %d", got, want)
				}
				time.Sleep(10 * time.Minute)
				if runs := w.Runs(jobName); len(runs) != 4 || runs[3].Result != Success {
					t.Errorf("in the end: %+v", runs)
				}
			})
		})
	}
}

func TestRestartAndKill(t *testing.T) {
	job := sampleJob()
	job.Pipeline = func(ctx context.Context, b *Build) error {
		fmt.Fprintln(b, "step one")
		time.Sleep(time.Minute)
		return ctx.Err()
	}
	for name, kill := range map[string]bool{"a clean restart keeps the queue": false, "a crash loses it": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, job, func(t *testing.T, w *world) {
				w.trigger("0", sampleValues)
				time.Sleep(time.Second)
				w.trigger("0", url.Values{"SERVICE": {"payments"}}) // blocked by the first
				if kill {
					w.Kill(30 * time.Second)
				} else {
					w.Restart(30 * time.Second)
				}
				if resp, body := w.do(request{method: "GET", path: "/login"}); resp.StatusCode != 503 || !strings.Contains(body, "getting ready") || resp.Header.Get("X-Jenkins") != "" {
					t.Errorf("while it is down: %d %s", resp.StatusCode, body)
				}
				time.Sleep(10 * time.Minute)
				if resp, _ := w.do(request{method: "GET", path: "/queue/item/1/api/json", user: "gatewarden", secret: token}); resp.StatusCode != 404 {
					t.Errorf("an item that left before the restart: %d, want 404", resp.StatusCode)
				}
				runs := w.Runs(jobName)
				if !strings.Contains(runs[0].Console, "Resuming build") || runs[0].Result != Success {
					t.Errorf("the running build did not go on: %+v", runs[0])
				}
				if want := map[bool]int{false: 2, true: 1}[kill]; len(runs) != want {
					t.Errorf("%d builds in the end, want %d", len(runs), want)
				}
			})
		})
	}
}

func TestItemIsForgottenAfterFiveMinutes(t *testing.T) {
	bubble(t, Config{}, sampleJob(), func(t *testing.T, w *world) {
		status := func() int {
			resp, _ := w.do(request{method: "GET", path: "/queue/item/1/api/json", user: "gatewarden", secret: token})
			return resp.StatusCode
		}
		w.trigger("0", sampleValues)
		time.Sleep(5*time.Minute - time.Second)
		if got := status(); got != 200 {
			t.Errorf("before five minutes: %d", got)
		}
		time.Sleep(2 * time.Second)
		if got := status(); got != 404 {
			t.Errorf("after five minutes: %d", got)
		}
	})
}

func TestDiscarderAndListing(t *testing.T) {
	job := sampleJob()
	job.Keep = 3
	bubble(t, Config{}, job, func(t *testing.T, w *world) {
		for i := range 5 {
			w.trigger("0", url.Values{"SERVICE": {fmt.Sprint(i)}})
			synctest.Wait()
		}
		numbers := func(tree string) string {
			var out []string
			o := w.get(jobURL + "/api/json?tree=" + url.QueryEscape(tree)).(map[string]any)
			for _, b := range o["builds"].([]any) {
				out = append(out, fmt.Sprint(b.(map[string]any)["number"]))
			}
			return strings.Join(out, " ")
		}
		for tree, want := range map[string]string{
			"builds[number]": "5 4 3", "builds[number]{0,2}": "5 4", "builds[number]{1,}": "4 3", "builds[number]{,1}": "5", "builds[number]{1}": "4",
			"builds[number]{7,9}": "",
		} {
			if got := numbers(tree); got != want {
				t.Errorf("%s: %q, want %q", tree, got, want)
			}
		}
		if runs := w.Runs(jobName); len(runs) != 5 || !runs[0].Deleted || runs[2].Deleted {
			t.Errorf("the record of what ran: %+v", runs)
		}
	})
}

func TestNamesOfBranchesAreEscapedTwice(t *testing.T) {
	bubble(t, Config{ContextPath: "/ci"}, Job{Name: "shop/orders/feature%2Fx", Parameters: []Parameter{{Name: "A"}}}, func(t *testing.T, w *world) {
		path := "/ci/job/shop/job/orders/job/feature%252Fx"
		resp := w.post(path+"/buildWithParameters?delay=0", nil)
		if got, want := resp.Header.Get("Location"), host+"/ci/queue/item/1/"; resp.StatusCode != 201 || got != want {
			t.Fatalf("%d %s, want 201 %s", resp.StatusCode, got, want)
		}
		synctest.Wait()
		o := w.get(path + "/1/api/json").(map[string]any)
		if got, want := o["url"], host+"/job/shop/job/orders/job/feature%252Fx/1/"; got != want {
			t.Errorf("url %v, want %v", got, want)
		}
	})
}

func TestProgressiveText(t *testing.T) {
	job := sampleJob()
	job.Pipeline = func(_ context.Context, b *Build) error {
		fmt.Fprintln(b, "rolling back")
		time.Sleep(time.Minute)
		return nil
	}
	bubble(t, Config{}, job, func(t *testing.T, w *world) {
		w.trigger("0", sampleValues)
		time.Sleep(time.Second)
		read := func(start string) (*http.Response, string) {
			return w.do(request{method: "GET", path: jobURL + "/1/logText/progressiveText?start=" + start, user: "gatewarden", secret: token})
		}
		resp, text := read("0")
		if resp.Header.Get("X-More-Data") != "true" || !strings.Contains(text, "rolling back") {
			t.Errorf("while it runs: %v %q", resp.Header, text)
		}
		time.Sleep(time.Hour)
		resp, text = read(resp.Header.Get("X-Text-Size"))
		if resp.Header.Get("X-More-Data") != "" || !strings.HasSuffix(text, "Finished: SUCCESS\n") || strings.Contains(text, "rolling") {
			t.Errorf("the rest: %v %q", resp.Header, text)
		}
		if _, text = read("999999"); !strings.HasPrefix(text, "Started by user") {
			t.Errorf("an offset beyond the end does not start over: %q", text)
		}
	})
}

func TestFaults(t *testing.T) {
	path := host + jobURL + "/buildWithParameters?delay=0"
	for name, c := range map[string]struct {
		fault  Fault
		status int // 0: the client sees an error
		builds int
	}{
		"reset before it is handled":    {Fault{Spoil: Reset}, 0, 0},
		"reset after it is handled":     {Fault{Spoil: Reset, Handled: true}, 0, 1},
		"never answered":                {Fault{Spoil: Hang}, 0, 0},
		"handled but never answered":    {Fault{Spoil: Hang, Handled: true}, 0, 1},
		"a proxy answers":               {Fault{Spoil: Instead, Status: 504}, 504, 0},
		"a proxy answers, but handled":  {Fault{Spoil: Instead, Handled: true}, 502, 1},
		"only late":                     {Fault{Delay: time.Second}, 201, 1},
		"later than the client's limit": {Fault{Delay: time.Minute, Handled: true}, 0, 1},
		"not the first one":             {Fault{Spoil: Reset, Skip: 1}, 201, 1},
		"not a read":                    {Fault{Spoil: Reset, When: Reads}, 201, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, sampleJob(), func(t *testing.T, w *world) {
				w.Inject(c.fault)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, path, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.SetBasicAuth("gatewarden", token)
				status := 0
				if resp, err := w.client.Do(req); err == nil {
					status = resp.StatusCode
					resp.Body.Close()
				}
				time.Sleep(2 * time.Minute)
				if got := len(w.Runs(jobName)); status != c.status || got != c.builds {
					t.Errorf("status %d and %d builds, want %d and %d", status, got, c.status, c.builds)
				}
				if rs := w.Requests(); len(rs) != 1 || rs[0].Method != http.MethodPost {
					t.Errorf("requests: %+v", rs)
				}
			})
		})
	}
}

func TestTreeIsLikeTheRealOne(t *testing.T) {
	v := object{"_class": "X", "a": 1, "b": list{object{"_class": "Y", "c": 2, "d": 3}, object{"e": 4}}, "f": object{"g": 5}}
	for text, want := range map[string]any{
		"a":           object{"_class": "X", "a": 1},
		"b[c]":        object{"_class": "X", "b": list{object{"_class": "Y", "c": 2}, object{}}},
		"b[c]{1,}":    object{"_class": "X", "b": list{object{}}},
		"a,f[g],none": object{"_class": "X", "a": 1, "f": object{"g": 5}},
		"f[*]":        object{"_class": "X", "f": object{"g": 5}},
		"b[c,d]{0,1}": object{"_class": "X", "b": list{object{"_class": "Y", "c": 2, "d": 3}}},
		"b[c]{,0},a":  object{"_class": "X", "a": 1, "b": list{}},
	} {
		tr, ok := parseTree(text)
		if !ok {
			t.Errorf("%q is refused", text)
			continue
		}
		if diff := cmp.Diff(want, tr.cut(v)); diff != "" {
			t.Errorf("%q (-want +got)\n%s", text, diff)
		}
	}
	for _, text := range []string{"", "a[", "a]", "a[]", "a{", "a{x}", "a{-1,2}", "a,,b", "a{1,2", "[a]", strings.Repeat("a[", 40) + "a" + strings.Repeat("]", 40)} {
		if _, ok := parseTree(text); ok {
			t.Errorf("%q is accepted", text)
		}
	}
}

func FuzzParseTree(f *testing.F) {
	f.Add("builds[number,actions[parameters[name,value]]]{0,100}")
	f.Add("a{,2},b{1},*")
	v := object{"_class": "X", "a": list{1, 2, 3}, "b": object{"c": 1}}
	f.Fuzz(func(t *testing.T, text string) {
		if tr, ok := parseTree(text); ok {
			tr.cut(v)
		}
	})
}
