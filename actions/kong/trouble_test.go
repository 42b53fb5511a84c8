package kong

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
)

// trouble is what is going to happen to a change on its way to the gateway.
type trouble struct {
	mu      sync.Mutex
	left    int  // changes until then, that one included; 0 for never
	arrives bool // the gateway carries it out
	kills   bool // the guard dies before it hears of it
	hangs   bool // the guard waits until it gives up
	reads   bool // what only looks counts too
	late    bool // the gateway carries it out once the guard has gone away
	hit     time.Time
}

// hits reports whether a request is the one, and what happens to it.
func (u *trouble) hits(r *http.Request) (what *trouble, hit bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.left == 0 || r.Method == http.MethodGet && !u.reads {
		return nil, false
	}
	if u.left--; u.left > 0 {
		return nil, false
	}
	u.hit = time.Now()
	return &trouble{arrives: u.arrives, kills: u.kills, hangs: u.hangs, late: u.late}, true
}

// last returns when a change was hit last.
func (u *trouble) last() time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.hit
}

// at sets what happens at the n-th request from now on, as a word of a script says.
func (u *trouble) at(n int, word string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.left = n
	u.arrives = word == "unheard" || word == "killed" || word == "hangs" || word == "unread"
	u.kills = word == "dies" || word == "killed"
	u.hangs = word == "hangs" || word == "hung"
	u.reads = word == "unread"
	u.late = word == "late"
}

// life is that of one engine.
type life struct {
	mu    sync.Mutex
	ended bool
}

func (l *life) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

func (l *life) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}

// unlucky carries the requests of one engine to the gateway, for as long as that lives.
type unlucky struct {
	next    http.RoundTripper
	trouble *trouble
	life    *life
}

var errLost = errors.New("nothing came back")

func (u *unlucky) RoundTrip(r *http.Request) (*http.Response, error) {
	if u.life.over() {
		return nil, errLost
	}
	what, hit := u.trouble.hits(r)
	if !hit {
		return u.next.RoundTrip(r)
	}
	var err error
	if what.arrives {
		_, err = u.next.RoundTrip(r)
	}
	switch {
	case what.kills:
		u.life.end()
	case what.hangs:
		<-r.Context().Done()
	case what.late:
		<-r.Context().Done()
		go func() {
			time.Sleep(100 * time.Millisecond)
			_, _ = u.next.RoundTrip(r.WithContext(context.WithoutCancel(r.Context()))) // nobody hears of it
		}()
	}
	return nil, errors.Join(errLost, err)
}

// mortal is a journal as one engine sees it: it takes nothing of a dead one.
type mortal struct {
	*ledger
	life *life
}

func (m *mortal) Append(ctx context.Context, e gatewarden.Event) (gatewarden.Event, error) {
	if m.life.over() {
		return e, gatewarden.Errorf(gatewarden.Conflict, "this engine is dead")
	}
	return m.ledger.Append(ctx, e)
}

// limits steers all adaptive steps to one limit, which the script of a test moves.
type limits struct {
	mu   sync.Mutex
	goal int
}

func (s *limits) Begin(*gatewarden.AdaptiveStep, time.Time) (gatewarden.Limit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return gatewarden.Limit{Value: 100 + s.goal}, nil
}

func (s *limits) Steer(_ *gatewarden.AdaptiveStep, l gatewarden.Limit, at time.Time) actions.Steering {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.Value == 100+s.goal {
		return actions.Steering{}
	}
	return actions.Steering{To: &gatewarden.Limit{Value: 100 + s.goal, Before: l.Value, Since: at}, Reason: "the script says so"}
}

func (s *limits) move() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goal++
}
