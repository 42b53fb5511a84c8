package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden/internal/fakejenkins"
	"github.com/gatewarden/gatewarden/internal/fakekong"
	"github.com/gatewarden/gatewarden/internal/loglines"
)

const (
	rollbackJob  = "shop/orders-rollback"
	actionParam  = "GATEWARDEN_ACTION"
	jenkinsUser  = "gatewarden"
	jenkinsToken = "11aa22bb33cc44dd55ee66ff77008811992233"
	targetV1     = "10.0.0.1:8080"
	targetV2     = "10.0.0.2:8080"
)

// shop is what surrounds a guard under test: stand-ins for Kong and Jenkins in this
// process, and a folder with the guard's files.
type shop struct {
	t          *testing.T
	kong       *fakekong.Kong
	jenkins    *fakejenkins.Server
	admin      string
	jenkinsURL string
	dir        string
	config     string
	own        string // path of the user's own plugin in the Admin API
	ownBefore  string

	bad     atomic.Bool                   // orders v2 fails, and has damaged what only the rollback repairs
	strike  atomic.Pointer[strike]        // nil when nothing is to happen
	faulty  atomic.Bool                   // the Admin API is
	ran     sync.Map                      // action ids that a rollback ran for
	repairs atomic.Int64                  // how many more rollbacks it takes
	orders  uint64                        // logged so far, by the one customers that there are at a time
	running atomic.Pointer[chan struct{}] // unless nil, builds run until it is closed
}

// openShop starts the stand-ins and writes the guard's files. rollbacks is how many
// actions roll back in the rules; so many it takes until orders are well again.
func openShop(t *testing.T, rules string, rollbacks int) *shop {
	t.Helper()
	s := &shop{t: t, dir: t.TempDir()}
	s.repairs.Store(int64(rollbacks))
	s.openKong()
	s.openJenkins()
	s.config = s.write("gatewarden.yaml", fmt.Sprintf(configText, s.admin, s.jenkinsURL, jenkinsUser))
	s.write("jenkins-token", jenkinsToken)
	s.write("rules.yaml", rules)
	return s
}

const configText = `
listen: {api: "127.0.0.1:0", ingest: "127.0.0.1:0"}
state: {dir: data}
rules: [rules.yaml]
sources:
  - httplog: {path: /ingest/kong}
kong: {admin_url: "%s"}
jenkins: {url: "%s", user: %s, token_file: jenkins-token}
log: {level: info, format: json}
`

func (s *shop) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	// As an editor does it: the guard, which looks at its files now and then, never
	// sees half of one.
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *shop) openKong() {
	s.t.Helper()
	s.kong = fakekong.New(fakekong.Config{Strict: true})
	s.t.Cleanup(s.kong.Close)
	err := s.kong.Load(fakekong.Setup{
		Upstreams: []fakekong.Upstream{{Name: "orders", Targets: []fakekong.Target{
			{Target: targetV1, Weight: 100, Tags: []string{"version:v1"}},
			{Target: targetV2, Weight: 100, Tags: []string{"version:v2"}},
		}}},
		Services: []fakekong.Service{
			{Name: "orders", Host: "orders", Routes: []fakekong.Route{{Name: "orders-list", Paths: []string{"/orders"}}}},
			{Name: "recommendations", Host: "recommendations.shop", Routes: []fakekong.Route{{Name: "recommendations", Paths: []string{"/recommendations"}}}},
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.admin = s.serve(peerKong, s.kong.Admin())
	var own struct{ ID string }
	s.ask(http.MethodPost, "/routes/orders-list/plugins",
		`{"name":"rate-limiting","tags":["team:checkout"],"config":{"minute":6000,"policy":"local","limit_by":"ip","fault_tolerant":false,"sync_rate":0.25,"error_message":"\u00fcber <b>100/min</b> & \"mehr\""}}`, &own)
	s.own = "/plugins/" + own.ID
	s.ownBefore = s.plugin(s.own)
}

func (s *shop) openJenkins() {
	s.jenkins = fakejenkins.New(fakejenkins.Config{
		QuietPeriod: -1,
		Users:       []fakejenkins.User{{Name: jenkinsUser, Tokens: []string{jenkinsToken}, Permissions: fakejenkins.Operator()}},
	})
	s.t.Cleanup(s.jenkins.Close)
	s.jenkins.SetJob(fakejenkins.Job{
		Name: rollbackJob, Parameters: []fakejenkins.Parameter{{Name: "SERVICE"}, {Name: actionParam}}, Pipeline: s.rollBack,
	})
	s.jenkinsURL = s.serve(peerJenkins, s.jenkins)
}

// rollBack is the pipeline of the rollback job.
func (s *shop) rollBack(ctx context.Context, b *fakejenkins.Build) error {
	if until := s.running.Load(); until != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-*until:
		}
	}
	if _, again := s.ran.LoadOrStore(b.Parameter(actionParam), true); !again {
		s.repairs.Add(-1)
	}
	fmt.Fprintln(b, "rolled back")
	return nil
}

// holdBuilds makes builds run until letGo is called.
func (s *shop) holdBuilds() (letGo func()) {
	until := make(chan struct{})
	s.running.Store(&until)
	return func() { close(until) }
}

// peer names a stand-in.
type peer string

const (
	peerKong    peer = "kong"
	peerJenkins peer = "jenkins"
)

// strike is what happens to a guard that changes something at a peer: its call is
// carried out, and before it hears of that, it is dead.
type strike struct {
	at   peer
	left atomic.Int64 // changes that pass before
	kill func()
}

// strikeAt arms a strike at the n-th change from now on.
func (s *shop) strikeAt(at peer, n int, kill func()) {
	strike := &strike{at: at, kill: kill}
	strike.left.Store(int64(n))
	s.strike.Store(strike)
}

// serve serves a stand-in.
func (s *shop) serve(name peer, h http.Handler) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		strike := s.strike.Load()
		if r.Method == http.MethodGet || r.Method == http.MethodHead || strike == nil || strike.at != name {
			h.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		if strike.left.Add(-1) == 0 {
			strike.kill()
			panic(http.ErrAbortHandler) // which cuts the connection
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	s.t.Cleanup(server.Close)
	return server.URL
}

// ask asks the stand-in's Admin API, which must do what it is asked.
func (s *shop) ask(method, path, body string, v any) {
	s.t.Helper()
	if err := s.askOr(method, path, body, v); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) askOr(method, path, body string, v any) error {
	req, err := http.NewRequest(method, s.admin+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := httpClient().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return json.Unmarshal(answer, v)
}

// updatedAt is the time of a plugin's last change, which moves when it is given back.
var updatedAt = regexp.MustCompile(`"updated_at":[0-9]+`)

// plugin returns the bytes by which the Admin API shows a plugin, all but the time of
// its last change.
func (s *shop) plugin(path string) string {
	s.t.Helper()
	var p json.RawMessage
	s.ask(http.MethodGet, path, "", &p)
	if n := len(updatedAt.FindAll(p, -1)); n != 1 {
		s.t.Fatalf("a plugin with %d times of its last change: %s", n, p)
	}
	return string(updatedAt.ReplaceAll(p, []byte(`"updated_at":0`)))
}

// pluginsOfGuard returns the ids of all plugins that carry the guard's tag.
func (s *shop) pluginsOfGuard() (ids []string) {
	s.t.Helper()
	var list struct {
		Data []struct {
			ID   string
			Name string
			Tags []string
		}
	}
	s.ask(http.MethodGet, "/plugins?size=1000", "", &list)
	for _, p := range list.Data {
		if strings.Contains(strings.Join(p.Tags, " "), "gatewarden") {
			ids = append(ids, p.Name+" "+p.ID)
		}
	}
	return ids
}

// setFaults makes the gateway's Admin API faulty, or well again.
func (s *shop) setFaults(f fakekong.Faults) {
	s.faulty.Store(f != fakekong.Faults{})
	s.kong.SetFaults(f)
}

// weight returns the weight of a target, and -1 while the Admin API is faulty: whoever
// asks then may wait for long.
func (s *shop) weight(target string) int {
	if s.faulty.Load() {
		return -1
	}
	var list struct {
		Data []struct {
			Target string
			Weight int
		}
	}
	if s.askOr(http.MethodGet, "/upstreams/orders/targets", "", &list) != nil {
		return -1
	}
	for _, t := range list.Data {
		if t.Target == target {
			return t.Weight
		}
	}
	return -1
}

// failing reports whether half of the orders fail. They do from the release of the
// bad v2 on, until it once gets no traffic and every rollback has run; then they are
// well for good.
func (s *shop) failing() bool {
	if s.bad.Load() && s.repairs.Load() <= 0 && s.weight(targetV2) == 0 {
		s.bad.Store(false)
	}
	return s.bad.Load()
}

// customers is the traffic of a shop, as Kong logs it.
type customers struct {
	shop   *shop
	mu     sync.Mutex
	to     []*process // where Kong's log goes: to each in turn
	turn   int
	posted int         // records that were answered with 200
	placed []time.Time // when the orders of each of these posts began to be placed
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// perTick orders are placed every tickEvery: 100 a second.
const (
	tickEvery = 100 * time.Millisecond
	perTick   = 10
)

// openDoors lets customers in until the test ends or close is called.
func (s *shop) openDoors(to ...*process) *customers {
	c := &customers{shop: s, to: to}
	var ctx context.Context
	ctx, c.stop = context.WithCancel(context.Background())
	c.done.Go(func() { c.run(ctx) })
	s.t.Cleanup(c.close)
	return c
}

func (c *customers) close() {
	c.stop()
	c.done.Wait()
}

// mark says how many records had been taken by an instant.
type mark struct {
	at     time.Time
	posted int
}

// untilTaken waits until so many records are taken, and returns how the number grew.
func (c *customers) untilTaken(records int) (marks []mark) {
	c.shop.t.Helper()
	eventually(c.shop.t, "records to be taken", func() error {
		posted := c.taken()
		marks = append(marks, mark{time.Now(), posted})
		if posted < records {
			return fmt.Errorf("%d of %d are", posted, records)
		}
		return nil
	})
	return marks
}

// logTo makes Kong's log go to another life of the guard.
func (c *customers) logTo(to ...*process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.to = to
}

// taken returns how many records were answered with 200.
func (c *customers) taken() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.posted
}

// takenSince returns how many records were answered with 200 of orders that were placed at
// an instant or later, but for perTick of them.
func (c *customers) takenSince(t time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, _ := slices.BinarySearchFunc(c.placed, t, time.Time.Compare)
	return perTick * (len(c.placed) - n)
}

// run writes batches and posts them as Kong does: in order, each again until it is
// answered with 200.
func (c *customers) run(ctx context.Context) {
	type post struct {
		body   []byte
		placed time.Time
	}
	var queue []post
	writer := loglines.NewWriter()
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		placed := time.Now()
		queue = append(queue, post{c.batch(writer), placed})
		for len(queue) > 0 && c.post(queue[0].body) {
			c.mu.Lock()
			c.placed = append(c.placed, queue[0].placed)
			c.mu.Unlock()
			queue = queue[1:]
		}
	}
}

func (c *customers) batch(w *loglines.Writer) []byte {
	failing, second := c.shop.failing(), targetV2
	if c.shop.weight(targetV2) == 0 {
		second = targetV1 // what v2 broke goes on failing there, until it is repaired
	}
	body := []byte("[")
	for i := range perTick {
		if i > 0 {
			body = append(body, ',')
		}
		l := loglines.Line{ID: c.shop.orders, At: time.Now(), Service: "orders", Target: targetV1, Status: http.StatusOK, Millis: 5}
		if c.shop.orders%2 == 1 {
			l.Target = second
			if failing {
				l.Status = http.StatusInternalServerError
			}
		}
		body = w.Append(body, l)
		c.shop.orders++
	}
	return append(body, ']')
}

func (c *customers) post(body []byte) bool {
	c.mu.Lock()
	to := c.to[c.turn%len(c.to)]
	c.turn++
	c.mu.Unlock()
	if to.ingest == "" || to.over() {
		return false
	}
	status, _, err := to.post("/ingest/kong", body)
	if err != nil || status != http.StatusOK {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.posted += bytes.Count(body, []byte(`"started_at"`))
	return true
}
