package chaos

import (
	"net/http"
	"strings"
	"time"
)

// Trouble is what is wrong with a peer.
type Trouble string

// The troubles. Where it matters whether the peer still does what it was asked for,
// that is Fault.Handled.
const (
	Slow         Trouble = "slow"          // it answers after Fault.Delay
	Reset        Trouble = "reset"         // the connection breaks
	HalfOpen     Trouble = "half-open"     // it takes the request, and nothing ever comes
	Cut          Trouble = "cut"           // half of the answer comes, then the connection breaks
	Error500     Trouble = "error 500"     // as Kong says it of itself
	Error503     Trouble = "error 503"     // as Jenkins says it while it starts, or something before Kong
	DatabaseDown Trouble = "database down" // Kong's Admin API without its database
	LostItem     Trouble = "lost item"     // Jenkins queues a build and forgets it, as one that is killed does
	Duplicate    Trouble = "duplicate"     // a trigger arrives at Jenkins twice
)

// Fault is a trouble that hits requests.
type Fault struct {
	Trouble Trouble
	Delay   time.Duration // of Slow
	Handled bool          // the peer still does what it was asked for; of Reset and HalfOpen
	Changes bool          // it hits only requests that change something
	Times   int           // how many requests it hits, 0 for all
}

// String says what it is.
func (f *Fault) String() string {
	parts := []string{string(f.Trouble)}
	if f.Delay > 0 {
		parts = append(parts, "by "+f.Delay.String())
	}
	if f.Handled {
		parts = append(parts, "after it was handled")
	}
	if f.Changes {
		parts = append(parts, "for changes")
	}
	if f.Times > 0 {
		parts = append(parts, "once")
	}
	return strings.Join(parts, " ")
}

// changes reports whether a request is to change something at the peer.
func changes(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	default:
		// Kong's schema endpoint only answers whether it would take what it is shown.
		return !strings.HasPrefix(r.URL.Path, "/schemas/")
	}
}

// triggers reports whether a request asks Jenkins for a build.
func triggers(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/buildWithParameters")
}

// hits reports whether the fault concerns a request.
func (f *Fault) hits(r *http.Request) bool {
	switch f.Trouble {
	case LostItem, Duplicate:
		return triggers(r)
	default:
		return !f.Changes || changes(r)
	}
}
