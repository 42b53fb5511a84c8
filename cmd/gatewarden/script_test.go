package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatewarden/gatewarden/internal/fakejenkins"
	"github.com/gatewarden/gatewarden/internal/fakekong"
	"github.com/gatewarden/gatewarden/internal/loglines"
)

var update = flag.Bool("update", false, "write what the sessions print into their golden files")

// TestScripts runs the sessions of testdata/script: what a person types, and what
// comes of it. Besides testscript's own commands they have
//
//	kong              a gateway with the services orders and recommendations, the latter with
//	                  a route; its Admin API is $KONG
//	jenkins           a Jenkins with the job shop/orders-rollback at $JENKINS; the token
//	                  is $JENKINS_TOKEN
//	gateguard         a guard with the canaries orders (passes), payments (fails), search
//	                  (has no answer) and inventory (never ends); $GATEWARDEN_SERVER
//	traffic BAD% [canary]
//	                  keeps orders' log coming to $INGEST, 100 records a second of which
//	                  so many fail; "traffic stop" ends it. With canary every tenth record
//	                  is of version v2, and of those so many fail, of the others none
//	envsubst FILE...  fills $NAME in files; $$ stays a $
//	records FILE KEY=VALUE...
//	                  writes Kong log lines, as records describes
//	gzip FILE         packs it into FILE.gz
//	cut FILE          leaves its first half
//	occupy ADDRESS    listens there until the session ends
//	post FILE URL     posts a file as Kong's http-log plugin does, its lines as one array;
//	                  the answer must be 200, or something else after a "!"
//	listener NAME     somebody at $NAME who takes in all that is posted, and tells it again
//	                  to GET
//	audience NAME     an Elasticsearch and a Grafana at $NAME, which audit may name; its /heard
//	                  tells the documents and the annotations that they have
//	send FILE URL     posts a file as it is; the answer must be 200, or something else after
//	                  a "!", and is the session's stdout
//	await URL TEXT... asks until the answer has all texts
//	awaitfile PATTERN waits until a file of that name exists
//	emptydir DIR      there is nothing in the folder
//	grab NAME REGEXP  sets $NAME to what the group matches in the last stdout
//	sigusr 1          sends SIGUSR1 (or 2) to what runs in the background
//	jsonlines FILE    every line of a file is one JSON object
//
// $API and $INGEST are free addresses for a guard to listen at.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *update, RequireUniqueNames: true, Setup: setUpScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"envsubst": envsubst, "traffic": setTraffic, "kong": startKong, "gateguard": startGateGuard, "jenkins": startJenkins, "records": writeRecords, "post": post,
			"await": await, "awaitfile": awaitFile, "emptydir": emptyDir, "occupy": occupy, "gzip": pack, "cut": cut, "listener": startListener, "audience": startAudience, "send": send, "grab": grab, "jsonlines": jsonLines, "sigusr": sigusr,
		},
	})
}

func setUpScript(env *testscript.Env) error {
	for _, name := range []string{"API", "INGEST"} {
		address, err := freeAddress()
		if err != nil {
			return err
		}
		env.Setenv(name, address)
	}
	env.Setenv("TZ", "UTC")
	env.Setenv("USER", "alice")
	env.Setenv("GATEWARDEN_SERVER", "http://"+env.Getenv("API"))
	t := &traffic{endpoint: "http://" + env.Getenv("INGEST") + "/ingest/kong"}
	env.Values[trafficKey{}] = t
	env.Defer(t.stop)
	repository, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	env.Setenv("EXAMPLES", filepath.Join(repository, "examples"))
	return nil
}

func startKong(ts *testscript.TestScript, _ bool, _ []string) {
	kong := fakekong.New(fakekong.Config{Seed: 1})
	ts.Defer(kong.Close)
	ts.Check(kong.Load(fakekong.Setup{
		Upstreams: []fakekong.Upstream{{Name: "orders", Targets: []fakekong.Target{
			{Target: "127.0.0.1:9101", Weight: 90, Tags: []string{"version:v1"}},
			{Target: "127.0.0.1:9102", Weight: 10, Tags: []string{"version:v2"}},
		}}},
		Services: []fakekong.Service{{Name: "orders", Host: "orders"}, {Name: "recommendations", URL: "http://127.0.0.1:9103", Routes: []fakekong.Route{{Name: "recommend", Paths: []string{"/recommend"}}}}},
	}))
	admin := httptest.NewServer(kong.Admin())
	ts.Defer(admin.Close)
	ts.Setenv("KONG", admin.URL)
}

func startJenkins(ts *testscript.TestScript, _ bool, _ []string) {
	const token = "11d0e5a1c5e2f4b6a8c0e2d4f6a8b0c2e4"
	jenkins := fakejenkins.New(fakejenkins.Config{
		QuietPeriod: 100 * time.Millisecond,
		Users:       []fakejenkins.User{{Name: "gatewarden", Tokens: []string{token}, Permissions: fakejenkins.Operator()}},
	})
	ts.Defer(jenkins.Close)
	jenkins.SetJob(fakejenkins.Job{
		Name:       "shop/orders-rollback",
		Parameters: []fakejenkins.Parameter{{Name: "SERVICE"}, {Name: "GATEWARDEN_ACTION"}},
	})
	server := httptest.NewServer(jenkins)
	ts.Defer(server.Close)
	ts.Setenv("JENKINS", server.URL)
	ts.Setenv("JENKINS_TOKEN", token)
}

func envsubst(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: envsubst FILE...")
	}
	for _, file := range args {
		text := os.Expand(ts.ReadFile(file), func(name string) string {
			if name == "$" {
				return name
			}
			return ts.Getenv(name)
		})
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}

// writeRecords writes the log of a stretch of traffic, one record a line:
//
//	records orders.log service=orders count=100 bad=50% at=2026-11-21T20:00:00Z over=10s millis=30
//
// Requests are spread evenly over the stretch, and so are those that fail with 500.
// Without at it ends now.
func writeRecords(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: records FILE KEY=VALUE...")
	}
	set := map[string]string{"service": "orders", "count": "1", "bad": "0%", "over": "1s", "at": "", "millis": "3"}
	for _, arg := range args[1:] {
		key, value, ok := strings.Cut(arg, "=")
		if _, known := set[key]; !ok || !known {
			ts.Fatalf("records does not know %q", arg)
		}
		set[key] = value
	}
	number := func(key string) int {
		n, err := strconv.Atoi(strings.TrimSuffix(set[key], "%"))
		ts.Check(err)
		return n
	}
	over, err := time.ParseDuration(set["over"])
	ts.Check(err)
	from := time.Now().Add(-over)
	if set["at"] != "" {
		from, err = time.Parse(time.RFC3339, set["at"])
		ts.Check(err)
	}
	var text []byte
	w, count, bad := loglines.NewWriter(), number("count"), number("bad")
	for i := range count {
		line := loglines.Line{
			ID: uint64(from.UnixNano()) + uint64(i), At: from.Add(over * time.Duration(i) / time.Duration(count)),
			Service: set["service"], Status: 200, Millis: number("millis"),
		}
		if (i+1)*bad/100 > i*bad/100 {
			line.Status = 500
		}
		text = append(w.Append(text, line), '\n')
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}

func pack(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gzip FILE")
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := io.WriteString(w, ts.ReadFile(args[0]))
	ts.Check(err)
	ts.Check(w.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".gz"), packed.Bytes(), 0o600))
}

func cut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: cut FILE")
	}
	text := ts.ReadFile(args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text[:len(text)/2]), 0o600))
}

func occupy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: occupy ADDRESS")
	}
	l, err := net.Listen("tcp", args[0])
	ts.Check(err)
	ts.Defer(func() { l.Close() })
}

// traffic is what Kong logs while customers order: records are posted as they
// complete, until it is stopped.
type traffic struct {
	endpoint string
	percent  atomic.Int64 // that fail
	canary   atomic.Bool  // every tenth record is of version v2, and only those fail
	end      context.CancelFunc
	running  sync.WaitGroup
}

// trafficKey is where a session has its traffic.
type trafficKey struct{}

func setTraffic(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) > 2 {
		ts.Fatalf("usage: traffic BAD%% [canary] or traffic stop")
	}
	t := ts.Value(trafficKey{}).(*traffic)
	if args[0] == "stop" {
		t.stop()
		return
	}
	bad, err := strconv.ParseInt(strings.TrimSuffix(args[0], "%"), 10, 64)
	ts.Check(err)
	t.percent.Store(bad)
	t.canary.Store(len(args) == 2)
	t.start()
}

func (t *traffic) start() {
	if t.end != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.end = cancel
	t.running.Go(func() { t.run(ctx) })
}

func (t *traffic) stop() {
	if t.end != nil {
		t.end()
		t.running.Wait()
		t.end = nil
	}
}

// run posts every 100 ms what has completed since. What cannot be posted is lost, as
// it is with Kong when its queue is full.
func (t *traffic) run(ctx context.Context) {
	const each = 10 * time.Millisecond
	w, every := loglines.NewWriter(), time.NewTicker(100*time.Millisecond)
	defer every.Stop()
	from := time.Now()
	for n := int64(1); ; {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		var lines [][]byte
		for ; time.Since(from) >= each; n++ {
			from = from.Add(each)
			line := loglines.Line{ID: uint64(n), At: from, Service: "orders", Status: 200, Millis: 3}
			count := n
			if t.canary.Load() {
				line.Version, count = "v1", 0 // the baseline fails nothing
				if n%10 == 0 {
					line.Version, count = "v2", n/10
				}
				line.Client = fmt.Sprintf("198.18.%d.%d", n/256%256, n%256) // each once: a client's failures in a row count once
			}
			if bad := t.percent.Load(); count*bad/100 > (count-1)*bad/100 && count > 0 {
				line.Status = 500
			}
			lines = append(lines, w.Append(nil, line))
		}
		if resp, err := http.Post(t.endpoint, "application/json", bytes.NewReader(jsonArray(lines))); err == nil {
			resp.Body.Close()
		}
	}
}

func post(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] post FILE URL")
	}
	body := jsonArray(bytes.Split(bytes.TrimSpace([]byte(ts.ReadFile(args[0]))), []byte("\n")))
	resp, err := http.Post(args[1], "application/json", bytes.NewReader(body))
	ts.Check(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	ts.Check(err)
	ts.Logf("%s: %s", resp.Status, answer)
	if (resp.StatusCode == http.StatusOK) == neg {
		ts.Fatalf("that is not what was expected")
	}
}

func jsonArray(lines [][]byte) []byte {
	return fmt.Appendf(nil, "[%s]", bytes.Join(lines, []byte(",")))
}

// patience is how long a session waits for what must come, however busy the machine is.
const patience = 2 * time.Minute

// until asks every 50 ms; the last answer is in the complaint when it runs out of
// patience.
func until(ts *testscript.TestScript, what string, ask func() (answer string, ok bool)) {
	deadline := time.Now().Add(patience)
	for {
		answer, ok := ask()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("waited %s in vain for %s; the last answer: %s", patience, what, answer)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: await URL TEXT...")
	}
	until(ts, fmt.Sprintf("%q from %s", args[1:], args[0]), func() (string, bool) {
		resp, err := http.Get(args[0])
		if err != nil {
			return err.Error(), false
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err == nil && containsAll(string(body), args[1:])
	})
}

func containsAll(s string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(s, text) {
			return false
		}
	}
	return true
}

func awaitFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: awaitfile PATTERN")
	}
	until(ts, args[0], func() (string, bool) {
		found, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		return "nothing there", len(found) > 0
	})
}

func emptyDir(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: emptydir DIR")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(entries) > 0 {
		ts.Fatalf("%s holds %s, and %d more", args[0], entries[0].Name(), len(entries)-1)
	}
}

func grab(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: grab NAME REGEXP")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	found := re.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) != 2 {
		ts.Fatalf("stdout has no %s", re)
	}
	ts.Setenv(args[0], found[1])
}

func jsonLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: jsonlines FILE")
	}
	text := ts.ReadFile(args[0])
	if !strings.HasSuffix(text, "\n") {
		ts.Fatalf("%s does not end with a line end", args[0])
	}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil || object == nil {
			ts.Fatalf("line %d of %s is not one JSON object: %v: %s", i+1, args[0], err, line)
		}
	}
}
