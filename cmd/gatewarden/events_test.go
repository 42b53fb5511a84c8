package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

// answers are what a guard says, one after the other; then it is waited for in vain.
type answers struct {
	list  []answer
	asked []string // of streams of events
	last  uint64   // the newest event of the last answer
}

type answer struct {
	err    error
	status int
	body   string
	cut    bool   // in the middle
	newest uint64 // the newest event that there is when a stream begins
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	next := answer{newest: a.last}
	if len(a.list) > 0 {
		next = a.list[0]
	}
	if q.Get("limit") == "1" && next.err == nil && next.status == 0 {
		a.last = next.newest
		return said(answer{body: fmt.Sprintf(`{"events":[{"seq":%d}]}`, next.newest)}), nil
	}
	if q.Has("follow") {
		a.asked = append(a.asked, "since "+q.Get("since")+" limit "+q.Get("limit"))
	}
	if len(a.list) == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	a.list = a.list[1:]
	if next.err != nil {
		return nil, next.err
	}
	return said(next), nil
}

func said(a answer) *http.Response {
	body := io.Reader(strings.NewReader(a.body))
	if a.cut {
		body = io.MultiReader(body, broken{})
	}
	return &http.Response{StatusCode: max(a.status, 200), Status: "as the test says", Body: io.NopCloser(body), Header: http.Header{}}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestEventsAreFollowedOverTheEndOfAStream(t *testing.T) {
	const ended = "The stream of events has ended: the guard has closed it. It is followed again."
	unreachable := errors.New("connection refused")
	for sentence, c := range map[string]struct {
		name    string
		answers []answer
		asked   []string
		seen    string
		said    []string
		err     string
	}{
		"the one that leads hands over": {
			answers: []answer{
				{body: "{\"seq\":7}\n{\"seq\":9}\n", newest: 9}, {err: unreachable},
				{status: 503, body: `{"error":{"code":"unavailable","message":"no guard leads at the moment"}}`}, {body: "{\"seq\":10}\n", newest: 10},
			},
			asked: []string{"since  limit 100", "since 9 limit 10000", "since 10 limit 10000"},
			seen:  "7 9 10",
			said:  []string{ended, "the guard at http://guard:8080 does not answer: connection refused (is it running there? --server or $GATEWARDEN_SERVER says where it is). Trying again.", "The guard answers again, after 1s.", ended},
		},
		"it is cut in the middle of an event": {
			answers: []answer{{body: "{\"seq\":7}\n{\"se", cut: true, newest: 8}, {body: "{\"seq\":8}\n", newest: 8}},
			asked:   []string{"since  limit 100", "since 7 limit 10000", "since 8 limit 10000"},
			seen:    "7 8",
			said:    []string{"The stream of events has ended: unexpected EOF. It is followed again.", ended},
		},
		"nothing had come yet": {
			answers: []answer{{newest: 40}, {body: "{\"seq\":41}\n", newest: 190}},
			asked:   []string{"since  limit 100", "since 40 limit 10000", "since 41 limit 10000"},
			seen:    "41",
			said:    []string{ended, ended},
		},
		"more was missed than is given": {
			answers: []answer{{body: "{\"seq\":7}\n", newest: 7}, {body: "{\"seq\":2008}\n{\"seq\":2010}\n", newest: 12007}},
			asked:   []string{"since  limit 100", "since 7 limit 10000", "since 2010 limit 10000"},
			seen:    "7 2008 2010",
			said:    []string{ended, "The events 8 to 2007 are missing here: at most 10000 come after a pause, and what is old is not kept.", ended},
		},
		"only those of a name are wanted": {
			name:    "orders",
			answers: []answer{{body: "{\"seq\":7}\n", newest: 7}, {body: "{\"seq\":2008}\n", newest: 12007}},
			asked:   []string{"since  limit 100", "since 7 limit 10000", "since 2008 limit 10000"},
			seen:    "7 2008",
			said:    []string{ended, ended},
		},
		"the guard has a new state": {
			answers: []answer{{body: "{\"seq\":90000}\n", newest: 90000}, {body: "{\"seq\":1}\n", newest: 1}},
			asked:   []string{"since  limit 100", "since 0 limit 10000", "since 1 limit 10000"},
			seen:    "90000 1",
			said:    []string{ended, "The guard has another journal than before: its newest event is 1, and 90000 had come. It is followed from its beginning.", ended},
		},
		"nobody answers at first": {
			answers: []answer{{err: unreachable}},
			err:     "does not answer",
		},
		"it is no longer let in": {
			answers: []answer{{body: "{\"seq\":7}\n", newest: 7}, {status: 401}},
			asked:   []string{"since  limit 100"},
			seen:    "7",
			said:    []string{ended},
			err:     "wants a user and a password",
		},
		"what comes is no event": {
			answers: []answer{{body: "<html>\n"}},
			asked:   []string{"since  limit 100"},
			err:     "reading an event",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				guard := &answers{list: c.answers}
				client := &client{base: "http://guard:8080", http: &http.Client{Transport: guard}}
				ctx, stop := context.WithTimeout(t.Context(), time.Hour)
				defer stop()
				var seen, said []string
				query := url.Values{"limit": {"100"}}
				if c.name != "" {
					query.Set("name", c.name)
				}
				err := client.follow(ctx, query, func(e gatewarden.Event) error {
					seen = append(seen, fmt.Sprint(e.Seq))
					return nil
				}, func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
				if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Errorf("it ends with %v, want %q", err, c.err)
				}
				if diff := cmp.Diff(c.asked, guard.asked); diff != "" {
					t.Errorf("asked (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(c.said, said); diff != "" {
					t.Errorf("said (-want +got):\n%s", diff)
				}
				if got := strings.Join(seen, " "); got != c.seen {
					t.Errorf("saw %s, want %s", got, c.seen)
				}
			})
		})
	}
}
