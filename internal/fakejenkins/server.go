package fakejenkins

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxBody bounds what is read of a request.
const maxBody = 1 << 20

// Config says what controller to be. The zero value is one that is good to talk
// to: security off, two executors, the default quiet period.
type Config struct {
	// PublicURL is the URL that Jenkins believes it has, which is what build.url and
	// task.url are made of. It is usually not the one that a client uses, and often
	// one that the client cannot even reach; the default is such a one.
	PublicURL string
	// ContextPath is what Jenkins was started with as --prefix, such as "/jenkins".
	ContextPath string
	Version     string // of X-Jenkins; "2.578" unless set
	Executors   int    // builds at once; 2 unless set
	// QuietPeriod is how long an item waits in the queue when its request names no
	// delay; 5 s unless set, none when negative.
	QuietPeriod time.Duration
	// LeftFor is how long the queue remembers an item that has left it; 5 minutes
	// unless set.
	LeftFor time.Duration
	// StartGap is the time between an item leaving the queue and its build being
	// listed. It is milliseconds in a real Jenkins and 0 here unless set.
	StartGap time.Duration
	// Users may log in. Without any, security is off and everybody may do everything.
	Users []User
	// AnonymousRead lets those who do not log in read, but not build.
	AnonymousRead bool
}

// Server is the controller. All methods may be called at any time, from any
// goroutine, also while requests are being served.
type Server struct {
	cfg     Config
	session string        // of X-Jenkins-Session
	closed  chan struct{} // releases the requests that hang
	stop    context.CancelFunc
	life    context.Context
	work    sync.WaitGroup // pipelines and wakers

	mu        sync.Mutex
	jobs      map[string]*job // by full name
	queue     []*item         // in the order of their ids; those that left stay for LeftFor
	nextItem  int64
	busy      int // executors at work
	executors int
	quieting  bool
	downUntil time.Time // 503 before it
	sessions  map[string]string
	requests  []*Request
	faults    []*fault
}

// New returns a server without jobs; close it to end its builds.
func New(cfg Config) *Server {
	if cfg.PublicURL == "" {
		cfg.PublicURL = "http://jenkins.internal.invalid:8080"
	}
	cfg.PublicURL = strings.TrimSuffix(cfg.PublicURL, "/") + "/"
	cfg.ContextPath = strings.TrimSuffix(cfg.ContextPath, "/")
	if cfg.Version == "" {
		cfg.Version = "2.578"
	}
	if cfg.Executors == 0 {
		cfg.Executors = 2
	}
	if cfg.QuietPeriod == 0 {
		cfg.QuietPeriod = 5 * time.Second
	}
	if cfg.LeftFor == 0 {
		cfg.LeftFor = 5 * time.Minute
	}
	life, stop := context.WithCancel(context.Background())
	return &Server{
		cfg: cfg, session: randomHex(4), closed: make(chan struct{}), life: life, stop: stop,
		jobs: map[string]*job{}, executors: cfg.Executors, sessions: map[string]string{},
	}
}

// Close aborts the running builds, waits for their pipelines to return and
// releases the requests that a fault holds. The server starts no build after it.
func (s *Server) Close() {
	s.mu.Lock()
	if s.life.Err() == nil {
		s.stop()
		close(s.closed)
	}
	s.mu.Unlock()
	s.work.Wait()
}

// Request is one request as it came in, and what became of it.
type Request struct {
	At     time.Time
	Method string
	Path   string // escaped, with the context path
	Query  string
	Header http.Header
	Body   string
	User   string // who the server took the client for; "" when anonymous
	Status int    // that Jenkins gave; 0 when a fault kept the request from it
	Spoilt bool   // a fault answered, or kept the answer back
}

// maxRequests is how many requests are remembered: a demo may run for days.
const maxRequests = 10_000

// Requests returns the requests so far, the oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Request, 0, len(s.requests))
	for _, r := range s.requests {
		out = append(out, *r)
	}
	return out
}

// ServeHTTP answers one request, with the faults that apply to it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return // the client went away in the middle
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	req := s.record(r, string(body))

	f := s.faultFor(r)
	if f == nil {
		rec := newRecorder()
		s.serve(rec, r, req)
		s.recordStatus(req, rec.status, false)
		rec.copyTo(w)
		return
	}
	s.spoil(w, r, f, req)
}

func (s *Server) record(r *http.Request, body string) *Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	req := &Request{
		At: time.Now(), Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery,
		Header: r.Header.Clone(), Body: body,
	}
	if len(s.requests) >= maxRequests {
		s.requests = append(s.requests[:0:0], s.requests[maxRequests/10:]...)
	}
	s.requests = append(s.requests, req)
	return req
}

func (s *Server) recordStatus(req *Request, status int, spoilt bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	req.Status, req.Spoilt = status, spoilt
}

// serve is Jenkins without faults: down or up, who is there, may a POST pass, and
// then the page that the path names.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, req *Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if time.Now().Before(s.downUntil) {
		h.Set("Expires", "0")
		h.Set("Cache-Control", "no-cache,no-store,must-revalidate")
		page(w, http.StatusServiceUnavailable, "Please wait while Jenkins is getting ready to work")
		return
	}
	h.Set("X-Jenkins", s.cfg.Version)
	h.Set("X-Jenkins-Session", s.session)
	who, ok := s.authenticate(w, r)
	if !ok {
		return
	}
	req.User = who.name
	if r.Method == http.MethodPost && !s.crumbValid(r, who) {
		page(w, http.StatusForbidden, "No valid crumb was included in the request")
		return
	}
	s.route(w, r, who)
}

// route finds the page. The path is taken apart while it is still escaped: the
// item of a branch feature/x is called "feature%2Fx", and its URL has %252F.
func (s *Server) route(w http.ResponseWriter, r *http.Request, who user) {
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), s.cfg.ContextPath+"/")
	if !ok {
		notFound(w, r)
		return
	}
	segments := strings.Split(strings.TrimSuffix(path, "/"), "/")
	switch strings.Join(segments, "/") {
	case "login":
		page(w, http.StatusOK, "Sign in to Jenkins")
		return
	case "crumbIssuer/api/json":
		s.serveCrumb(w, r, who)
		return
	}
	if !who.can(OverallRead) {
		denied(w, who, OverallRead)
		return
	}
	switch first := segments[0]; {
	case path == "" || path == "api/json":
		s.serveRoot(w, r, who)
	case strings.Join(segments, "/") == "whoAmI/api/json":
		export(w, r, object{"_class": "hudson.security.WhoAmI", "anonymous": who.name == "", "authenticated": true, "name": who.displayName()}, "")
	case first == "queue":
		s.routeQueue(w, r, who, segments[1:])
	case first == "job":
		s.routeJob(w, r, who, segments)
	default:
		notFound(w, r)
	}
}

func (s *Server) serveRoot(w http.ResponseWriter, r *http.Request, who user) {
	export(w, r, object{
		"_class": "hudson.model.Hudson", "mode": "NORMAL", "nodeDescription": "the Jenkins controller's built-in node",
		"numExecutors": s.executors, "quietingDown": s.quieting, "useCrumbs": len(s.cfg.Users) > 0, "useSecurity": len(s.cfg.Users) > 0,
		"url": s.cfg.PublicURL, "jobs": s.listing("", who),
	}, "")
}

// Restart makes the server answer 503 for the given time, as a clean restart
// does. The queue is kept, the memory of items that left it is not; sessions end;
// running builds go on, as pipelines do.
func (s *Server) Restart(down time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restart(down)
}

// Kill is a restart after a crash: what is in the queue is lost, too.
func (s *Server) Kill(down time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = nil
	s.restart(down)
}

func (s *Server) restart(down time.Duration) {
	var kept []*item
	for _, it := range s.queue {
		if it.left.IsZero() {
			kept = append(kept, it)
		}
	}
	s.queue = kept
	s.sessions = map[string]string{}
	s.session = randomHex(4)
	s.downUntil = time.Now().Add(down)
	for _, j := range s.jobs {
		for _, b := range j.builds {
			if b.building {
				b.print("Resuming build at " + s.downUntil.UTC().Format(time.UnixDate) + " after Jenkins restart\n")
			}
		}
	}
	s.wake(down)
}

// QuietDown starts ("prepare for shutdown") or ends the state in which items are
// queued but no build starts.
func (s *Server) QuietDown(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quieting = on
	s.wake(0)
}

// SetExecutors changes how many builds may run at once; with 0 none starts.
func (s *Server) SetExecutors(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.executors = n
	s.wake(0)
}

// wake has the queue looked at again after d.
func (s *Server) wake(d time.Duration) {
	if s.life.Err() != nil {
		return
	}
	s.work.Go(func() {
		select {
		case <-s.life.Done():
		case <-time.After(d):
			s.mu.Lock()
			defer s.mu.Unlock()
			s.maintain()
		}
	})
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

func atoi(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0
}
