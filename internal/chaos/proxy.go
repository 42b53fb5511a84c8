package chaos

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Call is one request of the guard, as it came to the proxy.
type Call struct {
	At      time.Time     // when it was handed to the peer, or hit by a fault
	Kept    time.Duration // for how long before that a fault had kept it, after it came from the guard
	Method  string
	Path    string // escaped
	Query   string
	Body    string
	Changes bool   // it is to change something
	Status  int    // of the peer's answer, 0 when the peer never saw the request
	Fault   string // what it was hit by, "" for nothing

	Touched []string // of a whole configuration: the ids of the entities that it changes
}

// declares reports whether a call writes the whole configuration of a Kong without a database.
func (c *Call) declares() bool { return c.Method == http.MethodPost && c.Path == "/config" }

// Proxy leads the guard to one peer and spoils what its faults say. It is safe for
// concurrent use.
type Proxy struct {
	peer   *url.URL
	client *http.Client
	closed chan struct{}

	mu     sync.Mutex
	fault  *Fault
	left   int // requests that the fault still hits, when it has a number
	strike *strike
	calls  []Call
	lost   int // queue items that were lost

	turn sync.RWMutex // held by requests while they are with the peer
}

// strike kills the guard at one of its changes.
type strike struct {
	left    int  // changes until then
	handled bool // the peer does what it was asked for first
	kill    func()
}

// NewProxy returns a proxy without faults before the peer at a base URL.
func NewProxy(peer string) (*Proxy, error) {
	u, err := url.Parse(peer)
	if err != nil {
		return nil, fmt.Errorf("the URL of a peer: %w", err)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return &Proxy{peer: u, closed: make(chan struct{}), client: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 8, DisableCompression: true},
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close releases what hangs. It is called once.
func (p *Proxy) Close() {
	close(p.closed)
	p.client.CloseIdleConnections()
}

// Set makes a fault the one in force; nil ends it. What hangs goes on hanging until the
// guard gives up, as on a network that comes back.
func (p *Proxy) Set(f *Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault = f; f != nil {
		p.left = f.Times
	}
}

// StrikeAt arms a kill at the n-th change from now, counted from 1; nil disarms.
func (p *Proxy) StrikeAt(n int, handled bool, kill func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.strike = nil; kill != nil {
		p.strike = &strike{left: n, handled: handled, kill: kill}
	}
}

// Alone lets somebody else do something at the peer while no request of the guard is there, so
// that it can be said which came first.
func (p *Proxy) Alone(do func()) {
	p.turn.Lock()
	defer p.turn.Unlock()
	do()
}

// Calls returns the calls so far, in the order in which they came.
func (p *Proxy) Calls() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Call(nil), p.calls...)
}

// begin notes a call and returns what hits it.
func (p *Proxy) begin(r *http.Request, body []byte) (n int, hit Fault, s *strike) {
	p.mu.Lock()
	defer p.mu.Unlock()
	call := Call{At: time.Now(), Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Body: string(body), Changes: changes(r)}
	if p.fault != nil && p.fault.hits(r) && (p.fault.Times == 0 || p.left > 0) {
		hit = *p.fault
		call.Fault = hit.String()
		p.left--
	}
	if p.strike != nil && call.Changes {
		if p.strike.left--; p.strike.left == 0 {
			s, p.strike = p.strike, nil
			call.Fault = strings.TrimSpace(call.Fault + " kill")
		}
	}
	p.calls = append(p.calls, call)
	return len(p.calls) - 1, hit, s
}

// ServeHTTP hands a request on, or does to it what the fault says.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the guard went away in the middle
	}
	n, hit, s := p.begin(r, body)
	if s != nil {
		if s.handled {
			p.ask(r, body, n)
		}
		s.kill()
		panic(http.ErrAbortHandler) // which cuts the connection
	}
	p.serve(w, r, body, n, &hit)
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request, body []byte, n int, hit *Fault) {
	switch hit.Trouble {
	case Slow:
		p.sleep(r, hit.Delay)
	case Reset, HalfOpen:
		if hit.Handled {
			p.ask(r, body, n)
		}
		if hit.Trouble == HalfOpen {
			p.sleep(r, time.Hour)
		}
		panic(http.ErrAbortHandler)
	case Error500:
		answer(w, http.StatusInternalServerError, "application/json; charset=utf-8", kongError)
		return
	case Error503:
		answer(w, http.StatusServiceUnavailable, "text/html;charset=utf-8", gettingReady)
		return
	case DatabaseDown:
		if r.URL.Path != "/status" { // which a real one still answers
			answer(w, http.StatusInternalServerError, "application/json; charset=utf-8", kongError)
			return
		}
	case LostItem:
		p.mu.Lock()
		p.lost++
		item := fmt.Sprintf("http://%s/queue/item/%d/", r.Host, lostItems+p.lost)
		p.mu.Unlock()
		w.Header().Set("Location", item)
		w.WriteHeader(http.StatusCreated)
		return
	case Duplicate:
		p.ask(r, body, n)
	default: // Cut comes with the answer
	}
	a := p.ask(r, body, n)
	if a == nil {
		panic(http.ErrAbortHandler)
	}
	a.send(w, hit.Trouble == Cut)
}

// lostItems is above the numbers of all items that Jenkins gives in a test.
const lostItems = 1_000_000

// What Kong 3.9.1 answers when its database is away, and Jenkins while it starts.
const (
	kongError    = `{"message":"An unexpected error occurred"}`
	gettingReady = "<html><head><title>Starting Jenkins</title></head><body>Please wait while Jenkins is getting ready to work</body></html>"
)

func answer(w http.ResponseWriter, status int, ctype, body string) {
	w.Header().Set("Content-Type", ctype)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // the guard's loss
}

// sleep waits, until the guard gives up or the proxy is closed.
func (p *Proxy) sleep(r *http.Request, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	case <-p.closed:
	}
}

// peersAnswer is what the peer said.
type peersAnswer struct {
	status int
	header http.Header
	body   []byte
}

// ask hands a request to the peer and returns its answer, nil when there is none. The
// peer hears the request out even when the guard has gone away.
func (p *Proxy) ask(r *http.Request, body []byte, n int) *peersAnswer {
	to := *p.peer
	to.Path, to.RawPath = p.peer.Path+r.URL.Path, p.peer.EscapedPath()+r.URL.EscapedPath()
	to.RawQuery = r.URL.RawQuery
	req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, to.String(), bytes.NewReader(body))
	if err != nil {
		return nil
	}
	req.Header = r.Header.Clone()
	req.Host = r.Host // what Jenkins makes its Location of
	p.turn.RLock()
	defer p.turn.RUnlock()
	touched := p.touched(r, body)
	p.mu.Lock()
	c, now := &p.calls[n], time.Now()
	c.At, c.Kept, c.Touched = now, now.Sub(c.At), touched
	p.mu.Unlock()
	resp, err := p.client.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	a := &peersAnswer{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		return nil
	}
	p.mu.Lock()
	p.calls[n].Status = a.status
	p.mu.Unlock()
	return a
}

// touched returns the ids of the entities that a whole configuration changes.
func (p *Proxy) touched(r *http.Request, body []byte) []string {
	if c := (Call{Method: r.Method, Path: r.URL.Path}); !c.declares() {
		return nil
	}
	wanted, err := parseDeclaration(body)
	if err != nil {
		return nil // the peer refuses it
	}
	look, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), http.MethodGet, p.peer.JoinPath("config").String(), nil)
	if err != nil {
		return nil
	}
	resp, err := p.client.Do(look)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	is, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil
	}
	now, err := parseDeclaration(is)
	if err != nil {
		return nil
	}
	return now.changed(wanted)
}

// send gives the answer to the guard, whole or cut.
func (a *peersAnswer) send(w http.ResponseWriter, cut bool) {
	maps.Copy(w.Header(), a.header)
	if !cut {
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body) // the guard's loss
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(a.body)+1)) // always more than comes
	w.WriteHeader(max(a.status, http.StatusOK))
	_, _ = w.Write(a.body[:len(a.body)/2])
	panic(http.ErrAbortHandler)
}
